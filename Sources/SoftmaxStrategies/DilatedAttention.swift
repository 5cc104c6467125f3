import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// A window with gaps: keys at distances that are multiples of a gap.
///
/// `dilated(w, gap)` is `w` keys: the query's own and the `w - 1` before it at distances gap, 2 gap,
/// ... under a causal mask; `w / 2` of them to each side otherwise (`w` even) or `(w - 1) / 2` (`w`
/// odd). It reaches gap times as far as a window of as many keys. Work: about n w pairs a head.
///
/// Rows with the same residue modulo the gap, seen with a row stride of it, are a plain window of
/// length n / gap, so that it runs as `window` does.
///
/// Beltagy 2020, arXiv 2004.05150, section 3.1.
public struct DilatedAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "dilated", operatorClass: .restricted,
    summary: "a window with gaps: every gap-th key",
    source: "Beltagy 2020, arXiv 2004.05150",
    parameters: [
      StrategyParameter("w", "keys in the window (default 512)"),
      StrategyParameter("gap", "distance from one of them to the next (default 2)"),
      ArithmeticParameter.declaration,
    ], isSweptByDefault: false, candidates: candidateSeries
  ) { arguments throws(AttentionError) in try DilatedAttention(arguments) }

  private let width: Int
  private let gap: Int
  public let arithmetic: Arithmetic

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    width = try arguments.integer("w", atLeast: 1) ?? 512
    gap = try arguments.integer("gap", atLeast: 1) ?? 2
    arithmetic = try ArithmeticParameter.read(arguments)
  }

  /// Keys seen to each side of the own.
  private func reach(causal: Bool) -> (left: Int, right: Int) {
    causal ? (width - 1, 0) : (width / 2, width / 2)
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    (["\(width)", "\(gap)"] + ArithmeticParameter.resolved(arithmetic)).joined(separator: ", ")
  }

  public func explanation(for problem: AttentionProblem) -> String {
    let reach = reach(causal: problem.visibility.causal)
    return "left \(reach.left * gap), right \(reach.right * gap)"
  }

  /// For each gap a series: from 16 keys to all at multiples of it. A search has none of them: to a model
  /// that was trained without gaps a window of as many keys is nearer, and its time is for that.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let keys = problem.shape.keyLength
    let gaps = density == .search ? [] : [2, 3, 4, 6, 8, 16, 32]
    return gaps.map { gap in
      // Not causal, a row at an end sees them all only with as many to each side.
      let most = problem.visibility.causal ? keys / gap : 3 * keys / gap / 2
      return density.sizes(from: min(16, max(most, 1)), through: most)
        .map { "\(family.name)(\($0), \(gap))" }
    }.filter { !$0.isEmpty }
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    let reach = reach(causal: geometry.causal)
    return DilatedPattern(geometry: geometry, left: reach.left, right: reach.right, gap: gap)
  }
}

/// Keys `p + m gap` for `-left <= m <= right`, in one pass by residue class.
struct DilatedPattern: KeyPattern {
  let geometry: MaskGeometry
  let left: Int
  let right: Int
  let gap: Int

  func includes(position: Int, key: Int) -> Bool {
    let distance = key - position
    return geometry.visible(from: position).contains(key) && distance % gap == 0
      && distance / gap >= -left && distance / gap <= right
  }

  var rowStrides: [Int] { [gap] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [sequence(0, pass: pass, residue: residue)]
  }

  func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence {
    KeySequence(start: residue, period: gap, before: geometry.keyLength)
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let own = position.block(of: gap)
    let places = sequence(0, pass: pass, residue: position - own * gap)
      .places(in: geometry.visible(from: position))
    return (own - left..<own + right + 1).clamped(to: places)
  }
}
