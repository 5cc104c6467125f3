import AttentionContract
import AttentionEngines
import AttentionKernels
import Tensors

/// Exact attention block by block with online softmax, in O(n) memory.
///
/// The score matrix is never stored: blocks of keys stream past blocks of queries, each query row
/// carrying a running maximum and sum. Work: n^2 pairs a head (half when causal), 2 (d + dV)
/// floating-point operations a pair.
///
/// Dao 2022, arXiv 2205.14135; Dao 2023, arXiv 2307.08691; Milakov & Gimelshein 2018,
/// arXiv 1805.02867.
public struct FlashAttention: PatternStrategy {
  public static let family = StrategyFamily(
    "flash", operatorClass: .exact,
    summary: "tiled online softmax over all keys, O(n) memory",
    source: "Dao 2022, arXiv 2205.14135; Dao 2023, arXiv 2307.08691",
    parameters: [
      StrategyParameter(
        "blockQ", "query rows that share a block of keys (default: from the caches)"),
      StrategyParameter("blockK", "keys in a block (default: from the caches)"),
      ArithmeticParameter.declaration,
      StrategyParameter(
        "kv", "f16, bf16, int8-token or int8-channel: how keys and values are stored first"),
    ], candidates: candidateSeries
  ) { arguments throws(AttentionError) in try FlashAttention(arguments) }

  private let queryRows: Int?
  private let keyRows: Int?
  /// What queries, keys, weights and values are multiplied in.
  public let arithmetic: Arithmetic
  /// How keys and values are stored before they are attended to; nil for as they come.
  public let keyValueStorage: ElementType?

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    queryRows = try arguments.integer("blockQ", atLeast: 1)
    keyRows = try arguments.integer("blockK", atLeast: 1)
    arithmetic = try ArithmeticParameter.read(arguments)
    let storage: ElementType? = try arguments.choice("kv")
    keyValueStorage = storage == .float32 ? nil : storage
  }

  /// Seconds of one core that full attention may take for a search to look at it in several arithmetics: where
  /// it takes longer, the time is for strategies that visit fewer pairs.
  private static let longestForArithmetics = 2.0

  /// In ever more precise arithmetic, those that are faster here than fp32, down to it.
  private static func candidateSeries(
    _ problem: AttentionProblem, _ density: SearchDensity
  ) -> [[String]] {
    let (shape, rates) = (problem.shape, ProductRates.active)
    let pairs =
      Double(shape.batch * shape.heads) * Double(shape.queryLength) * Double(shape.keyLength)
      / (problem.visibility.causal ? 2 : 1)
    let seconds = 2 * pairs * Double(shape.headDim + shape.valueDim) / (rates.rates[.float32] ?? 1)
    let narrow = seconds <= longestForArithmetics ? rates.faster : []
    return [narrow.map { "\(family.name)(arithmetic: \($0.rawValue))" } + [family.name]]
  }

  public var engine: SoftmaxEngine {
    SoftmaxEngine(queryRows: queryRows, keyRows: keyRows, arithmetic: arithmetic)
  }

  public func explanation(for problem: AttentionProblem) -> String {
    let blocks = engine.blocks(for: problem)
    return "blocks of at most \(blocks.panels * KernelTable.active.panelLanes) queries x "
      + "\(blocks.keys) keys"
  }

  public func resolvedParameters(for problem: AttentionProblem) -> String {
    let blocks = engine.blocks(for: problem)
    let sizes =
      queryRows == nil && keyRows == nil
      ? [] : ["\(blocks.panels * KernelTable.active.panelLanes)", "\(blocks.keys)"]
    let products = ArithmeticParameter.resolved(arithmetic)
    let storage = keyValueStorage.map { ["kv: \($0.rawValue)"] } ?? []
    return (sizes + products + storage).joined(separator: ", ")
  }
}
