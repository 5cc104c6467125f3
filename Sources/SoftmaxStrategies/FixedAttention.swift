import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Fixed sparse attention: the own block of l keys and the last c keys of every earlier block.
///
/// A1 = {j <= p : floor(j / l) = floor(p / l)} united with A2 = {j <= p : j mod l >= l - c}; not
/// causal, the same without j <= p. Those summary columns let information travel in two steps.
/// The default l is the power of two nearest to sqrt(nKV), c is l / 8 (at least 1). Work: about
/// n (l + c n / l) pairs a head, half of it when causal.
///
/// Child 2019, arXiv 1904.10509.
public struct FixedAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "fixed", operatorClass: .restricted,
    summary: "the own block of l keys and the last c keys of every block",
    source: "Child 2019, arXiv 1904.10509",
    parameters: [
      StrategyParameter("l", "keys in a block (default: the power of two nearest to sqrt(nKV))"),
      StrategyParameter("c", "keys of every block that all later queries see (default l / 8)"),
      ArithmeticParameter.declaration,
    ], candidates: candidateSeries
  ) { arguments throws(AttentionError) in try FixedAttention(arguments) }

  private let block: Int?
  private let columns: Int?
  public let arithmetic: Arithmetic

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    block = try arguments.integer("l", atLeast: 1)
    columns = try arguments.integer("c", atLeast: 1)
    arithmetic = try ArithmeticParameter.read(arguments)
    if let block, let columns, columns > block {
      throw AttentionError(
        .invalidArgument, argument: "fixed c", value: columns,
        advice: "must be at most l (\(block)): it counts keys of a block")
    }
  }

  private func resolved(_ keyLength: Int) -> (block: Int, columns: Int) {
    let block = block ?? max(StridedAttention.defaultStride(keyLength), columns ?? 1)
    return (block, columns ?? max(1, block / 8))
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    let resolved = resolved(problem.shape.keyLength)
    return
      (["\(resolved.block)", "\(resolved.columns)"] + ArithmeticParameter.resolved(arithmetic))
      .joined(separator: ", ")
  }

  /// For blocks around and above the default, each a series: from one summary key a block to half
  /// of it.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let keys = problem.shape.keyLength
    let least = StridedAttention.defaultStride(keys)
    let blocks =
      density == .search ? [1, 2, 4].map { least * $0 } : [1, 2, 4, 8, 16].map { least * $0 / 2 }
    return blocks.filter { $0 >= 1 && $0 <= keys }.map { block in
      density.sizes(from: 1, through: max(1, block / 2)).map { "\(family.name)(\(block), \($0))" }
    }
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    let resolved = resolved(geometry.keyCapacity)
    return FixedPattern(geometry: geometry, block: resolved.block, columns: resolved.columns)
  }
}

/// Three sequences: the own block, the summary columns before it, the summary columns after it.
struct FixedPattern: KeyPattern {
  let geometry: MaskGeometry
  let block: Int
  let columns: Int

  func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key)
      && (key / block == position.block(of: block) || key % block >= block - columns)
  }

  /// The last `columns` keys of every block.
  private var summaries: KeySequence {
    let (keys, short) = (geometry.keyLength, geometry.keyLength % block)
    return KeySequence(
      start: block - columns, run: columns, period: block,
      count: keys / block * columns + max(0, short - (block - columns)))
  }

  var rowStrides: [Int] { [1] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    let own = KeySequence(0..<geometry.keyLength)
    // Under a causal mask nobody sees later columns but those of a prefix.
    let seesLater = !geometry.causal || geometry.prefixLength > 0
    return seesLater ? [own, summaries, summaries] : [own, summaries]
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let visible = geometry.visible(from: position)
    let first = position.block(of: block) * block
    switch index {
    case 0:
      return (first..<first + block).clamped(to: visible)
    case 1:
      return summaries.places(in: visible.clamped(to: Int.min..<first))
    default:
      return summaries.places(in: visible.clamped(to: first + block..<Int.max))
    }
  }
}
