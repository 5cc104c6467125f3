import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Strided sparse attention: a local window and every l-th key.
///
/// Causal: A1 = {p - l ... p} united with A2 = {j <= p : (p - j) mod l = 0}. Not causal: the
/// symmetric form, |p - j| <= l united with (p - j) mod l = 0. The default l is the power of two
/// nearest to sqrt(nKV), so that work is O(n sqrt(n)): about n (l + n / l) pairs a head, half of
/// it when causal.
///
/// Rows with the same residue modulo l, seen with row stride l, form a plain attention problem of
/// length n / l, so A2 runs at the dense kernel's speed. Keys at distance 0 and l belong to A1.
///
/// Child 2019, arXiv 1904.10509.
public struct StridedAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "strided", operatorClass: .restricted,
    summary: "the last l keys and every l-th key",
    source: "Child 2019, arXiv 1904.10509",
    parameters: [
      StrategyParameter("l", "the stride (default: the power of two nearest to sqrt(nKV))"),
      ArithmeticParameter.declaration,
    ], candidates: candidateSeries
  ) { arguments throws(AttentionError) in try StridedAttention(arguments) }

  private let stride: Int?
  public let arithmetic: Arithmetic

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    stride = try arguments.integer("l", atLeast: 1)
    arithmetic = try ArithmeticParameter.read(arguments)
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    let stride = stride ?? StridedAttention.defaultStride(problem.shape.keyLength)
    return (["\(stride)"] + ArithmeticParameter.resolved(arithmetic)).joined(separator: ", ")
  }

  /// The default, near which the cost is least, and from there longer strides, which see more
  /// neighbours, and shorter ones, which see more of the distant keys.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let keys = problem.shape.keyLength
    let least = min(defaultStride(keys), keys)
    let longer = density.sizes(from: least, through: max(least, keys / 2))
    let shorter = density.sizes(from: 2, through: least).reversed()
    return [longer, Array(shorter)].filter { !$0.isEmpty }
      .map { strides in strides.map { "\(family.name)(\($0))" } }
  }

  /// The power of two nearest to sqrt(n).
  static func defaultStride(_ n: Int) -> Int {
    var stride = 1
    while (stride * 2) * (stride * 2) <= n { stride *= 2 }
    let root = Double(n).squareRoot()
    return root - Double(stride) <= Double(2 * stride) - root ? stride : 2 * stride
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    StridedPattern(
      geometry: geometry, stride: stride ?? StridedAttention.defaultStride(geometry.keyCapacity))
  }
}

/// Pass 0: the window |p - j| <= l. Pass 1, by residue class: the keys at distance m l, |m| >= 2.
struct StridedPattern: KeyPattern {
  let geometry: MaskGeometry
  let stride: Int

  func includes(position: Int, key: Int) -> Bool {
    let distance = position - key
    return geometry.visible(from: position).contains(key)
      && (abs(distance) <= stride || distance % stride == 0)
  }

  // With stride 1 every key is at a multiple of it: one pass has them all.
  var rowStrides: [Int] { stride == 1 ? [1] : [1, stride] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    if pass == 0 { return [KeySequence(0..<geometry.keyLength)] }
    let keys = sequence(0, pass: pass, residue: residue)
    // Under a causal mask nobody sees later keys but those of a prefix.
    return geometry.causal && geometry.prefixLength == 0 ? [keys] : [keys, keys]
  }

  func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence {
    if pass == 0 { return KeySequence(0..<geometry.keyLength) }
    return KeySequence(start: residue, period: stride, before: geometry.keyLength)
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    if stride == 1 { return geometry.visible(from: position) }
    if pass == 0 {
      return (position - stride..<position + stride + 1).clamped(
        to: geometry.visible(from: position))
    }
    let residue = ((position % stride) + stride) % stride
    let places = sequence(index, pass: pass, residue: residue)
      .places(in: geometry.visible(from: position))
    let own = (position - residue) / stride
    return (index == 0 ? 0..<max(own - 1, 0) : max(own + 2, 0)..<max(own + 2, places.upperBound))
      .clamped(to: places)
  }
}
