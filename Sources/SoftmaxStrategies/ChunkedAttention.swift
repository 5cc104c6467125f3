import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Chunked attention: a query sees the keys of its own chunk of `size` positions.
///
/// Chunks begin at multiples of `size`, and nothing passes from one to the next: a query at position
/// p sees p mod size + 1 keys under a causal mask. Work: n size pairs a head, half of it when causal.
///
/// Llama 4 (Meta 2025), in three of four layers, with chunks of 8192.
public struct ChunkedAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "chunked", operatorClass: .restricted,
    summary: "the keys of the own chunk",
    source: "Llama 4, Meta 2025",
    parameters: [
      StrategyParameter("size", "positions in a chunk (default 8192)"),
      ArithmeticParameter.declaration,
    ],
    isSweptByDefault: false, candidates: candidateSeries
  ) { arguments throws(AttentionError) in try ChunkedAttention(arguments) }

  private let size: Int
  public let arithmetic: Arithmetic

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    size = try arguments.integer("size", atLeast: 1) ?? 8192
    arithmetic = try ArithmeticParameter.read(arguments)
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    (["\(size)"] + ArithmeticParameter.resolved(arithmetic)).joined(separator: ", ")
  }

  /// From 16 keys to all. A search has none of them: to a model that was trained without chunks a window of
  /// as many keys is nearer, and its time is for that.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    if density == .search { return [] }
    let keys = problem.shape.keyLength
    return [density.sizes(from: min(16, keys), through: keys).map { "\(family.name)(\($0))" }]
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    ChunkedPattern(geometry: geometry, size: size)
  }
}

struct ChunkedPattern: KeyPattern {
  let geometry: MaskGeometry
  let size: Int

  func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key) && key / size == position.block(of: size)
  }

  var rowStrides: [Int] { [1] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [KeySequence(0..<geometry.keyLength)]
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let first = position.block(of: size) * size
    return (first..<first + size).clamped(to: geometry.visible(from: position))
  }
}
