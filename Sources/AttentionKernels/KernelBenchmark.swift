import CAttentionKernels
import Tensors

/// One call of one micro-kernel on operands that sit in the cache, as the engine gives it
/// to them: for whoever wants to know where the cycles go.
///
/// Not for computing anything: the operands are made up and the results dropped.
public final class KernelBenchmark {
  /// What can be timed alone.
  public enum Kernel: String, CaseIterable, Sendable {
    /// Dot products of a panel of queries with a block of keys.
    case dots
    /// The values product: a block of weights times the values of its keys.
    case values
    /// A block through the online softmax: dots, exponentials, values.
    case attend
    /// The same where every block raises the maxima, so that the accumulator is rescaled.
    case attendRescaling = "attend, rescaling"
    /// A block on the diagonal of a causal mask; work counts for the visible pairs only.
    case attendMasked = "attend, diagonal"
    /// Query rows to a panel.
    case pack
    /// A panel to output rows.
    case unpack
    /// Maximum, exponentials and sum of one row of materialised scores.
    case softmaxRow = "softmax row"
    /// One row of materialised weights times a factor.
    case scaleRow = "scale row"
    /// The feature map of linear attention.
    case elu = "elu + 1"
  }

  /// What the work of a kernel is counted in.
  public enum Work: Hashable, Sendable {
    /// Floating-point operations of the products, exponentials not counted, as for strategies.
    case operations(Int)
    /// Bytes read and written.
    case bytes(Int)
  }

  public let kernel: Kernel
  /// d, of queries, keys and values alike. Kernels that work on single rows get rows of
  /// `ATTN_BLOCK_KEYS` times d floats.
  public let headDim: Int
  /// What one call does.
  public let work: Work

  private let kernels: KernelTable
  private let count: Int
  private let panel: PanelOperands
  private let row: AlignedFloats
  private let rowResult: AlignedFloats

  /// Sets up one call.
  ///
  /// - Throws: `AttentionError` when `headDim` is below 1 or above 4096, or the system refuses the
  ///   memory.
  public init(
    _ kernel: Kernel, headDim: Int, kernels: KernelTable = .active
  ) throws(AttentionError) {
    guard (1...4096).contains(headDim) else {
      throw AttentionError(
        .invalidArgument, argument: "headDim", value: headDim, advice: "must be in 1...4096")
    }
    self.kernel = kernel
    self.headDim = headDim
    self.kernels = kernels
    let lanes = kernels.panelLanes
    let keys = Int(ATTN_BLOCK_KEYS)
    count = kernel == .attendMasked ? min(lanes, keys) : keys
    panel = try PanelOperands(headDim: headDim, kernels: kernels)
    row = try AlignedFloats(count: keys * headDim, for: "row", touched: true)
    rowResult = try AlignedFloats(count: keys * headDim, for: "row result", touched: true)
    PanelOperands.fill(row, scale: 1)
    let float = MemoryLayout<Float>.size
    work =
      switch kernel {
      case .dots, .values: .operations(2 * lanes * count * headDim)
      case .attend, .attendRescaling: .operations(4 * lanes * count * headDim)
      case .attendMasked: .operations(4 * (count * (count + 1) / 2) * headDim)
      case .pack, .unpack: .bytes(2 * float * lanes * headDim)
      case .softmaxRow, .scaleRow, .elu: .bytes(2 * float * row.count)
      }
  }

  /// Calls the kernel `calls` times on one thread.
  public func run(calls: Int) {
    let functions = kernels.functions.pointee
    let lanes = functions.panel_lanes
    let vectors = lanes / functions.vector_lanes
    let keys = Int32(count)
    let dimension = Int32(headDim)
    let length = Int64(row.count)
    for _ in 0..<calls {
      switch kernel {
      case .dots:
        functions.dots(
          panel.queries.base, panel.rows, keys, dimension, vectors, panel.weights.base)
      case .values:
        functions.accumulate(
          panel.rows, panel.weights.base, Int64(lanes), keys, dimension, vectors,
          panel.output.base, nil)
      case .attend:
        panel.attend(kernels.functions, pieces: panel.whole)
      case .attendRescaling:
        panel.lowerMaxima()
        panel.attend(kernels.functions, pieces: panel.whole)
      case .attendMasked:
        panel.attend(kernels.functions, pieces: panel.diagonal)
      case .pack:
        functions.pack(panel.rows, lanes, dimension, 1, panel.queries.base)
      case .unpack:
        functions.unpack(
          panel.output.base, panel.factors.base, nil, lanes, dimension, panel.writableRows)
      case .softmaxRow:
        var maximum: Float = 0
        // In place, call after call: the row tends to values in 0.5...1, far from denormals.
        _ = functions.softmax_row(row.base, length, 0.25, &maximum)
      case .scaleRow:
        functions.scale_row(row.base, length, 1)
      case .elu:
        functions.elu_plus_one(row.base, length, rowResult.base)
      }
    }
  }
}

/// The operands of kernels that work on a panel.
private final class PanelOperands {
  let queries: AlignedFloats
  let weights: AlignedFloats
  let output: AlignedFloats
  let factors: AlignedFloats
  /// `[ATTN_BLOCK_KEYS]` rows of d floats: keys, values, and rows to be packed.
  let rows: UnsafeMutablePointer<UnsafePointer<Float>>
  /// `[L]` rows of d floats.
  let writableRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  /// `[L]` row bounds of a diagonal block: lane i sees keys 0...i.
  let lower: UnsafeMutablePointer<Int32>
  let upper: UnsafeMutablePointer<Int32>
  private let maxima: AlignedFloats
  private let sums: AlignedFloats
  private let elements: AlignedFloats
  private let results: AlignedFloats
  private let headDim: Int
  private let lanes: Int
  private let vectors: Int
  /// A block that all lanes see, and the one on the diagonal.
  let whole: [attn_piece]
  let diagonal: [attn_piece]

  init(headDim: Int, kernels: KernelTable) throws(AttentionError) {
    self.headDim = headDim
    let lanes = kernels.panelLanes
    self.lanes = lanes
    vectors = lanes / kernels.vectorLanes
    whole = [
      attn_piece(
        first: 0, count: ATTN_BLOCK_KEYS, first_vector: 0, vectors: Int32(vectors), masked: 0)
    ]
    let width = Int32(kernels.vectorLanes)
    diagonal = (0..<Int32(vectors)).map {
      attn_piece(
        first: $0 * width, count: width, first_vector: $0, vectors: Int32(lanes) / width - $0,
        masked: 1)
    }
    let keys = Int(ATTN_BLOCK_KEYS)
    queries = try AlignedFloats(count: headDim * lanes, for: "queries", touched: true)
    weights = try AlignedFloats(count: keys * lanes, for: "weights", touched: true)
    output = try AlignedFloats(count: headDim * lanes, for: "output", touched: true)
    factors = try AlignedFloats(count: lanes, for: "factors", touched: true)
    maxima = try AlignedFloats(count: lanes, for: "maxima", touched: true)
    sums = try AlignedFloats(count: lanes, for: "sums", touched: true)
    elements = try AlignedFloats(count: max(keys, lanes) * headDim, for: "rows", touched: true)
    results = try AlignedFloats(count: lanes * headDim, for: "results", touched: true)
    rows = .allocate(capacity: max(keys, lanes))
    writableRows = .allocate(capacity: lanes)
    lower = .allocate(capacity: lanes)
    upper = .allocate(capacity: lanes)
    for index in 0..<max(keys, lanes) {
      (rows + index).initialize(to: UnsafePointer(elements.base + index * headDim))
    }
    for lane in 0..<lanes {
      (writableRows + lane).initialize(to: results.base + lane * headDim)
      (lower + lane).initialize(to: 0)
      (upper + lane).initialize(to: Int32(lane + 1))
    }
    Self.fill(elements, scale: 1)
    Self.fill(weights, scale: 1)
    // Scores of a few natural units, as unit-normal inputs give.
    Self.fill(queries, scale: .log16e / Float(headDim).squareRoot())
    factors.base.update(repeating: 1, count: lanes)
    maxima.base.update(repeating: -.infinity, count: lanes)
  }

  deinit {
    rows.deallocate()
    writableRows.deallocate()
    lower.deallocate()
    upper.deallocate()
  }

  /// Lets the panel meet the pieces of a block.
  func attend(_ functions: UnsafePointer<attn_kernels>, pieces: [attn_piece]) {
    var panel = attn_panel(
      queries: queries.base, weights: weights.base, output: output.base, maxima: maxima.base,
      sums: sums.base, head_words: Int32(headDim), value_dim: Int32(headDim),
      vectors: Int32(vectors), factor: 1, softcap: 0, query_scales: nil)
    let operands = UnsafeRawPointer(rows).assumingMemoryBound(to: UnsafeRawPointer.self)
    pieces.withUnsafeBufferPointer { pieces in
      guard let first = pieces.baseAddress else { return }
      var block = attn_block(
        keys: operands, values: operands, pieces: first, piece_count: Int32(pieces.count),
        first_key: 0,
        lower: lower, upper: upper, prefetch: nil, bias: nil, key_bias: nil, scales: nil)
      attn_attend(functions, ATTN_FP32, &panel, &block)
    }
  }

  /// Makes the next block's scores larger than all before by more than the kernels tolerate.
  func lowerMaxima() { maxima.base.update(repeating: -16, count: lanes) }

  /// Uniform in -1.7...1.7 times `scale`, so of variance `scale` squared; the same every time.
  static func fill(_ floats: borrowing AlignedFloats, scale: Float) {
    var state: UInt32 = 1
    for index in 0..<floats.count {
      // Numerical Recipes' linear congruential generator: nothing here depends on its quality.
      state = state &* 1_664_525 &+ 1_013_904_223
      floats.base[index] = scale * 1.7 * (Float(state >> 8) * 0x1p-23 - 1)
    }
  }
}
