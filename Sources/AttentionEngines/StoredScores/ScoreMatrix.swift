import AttentionContract
import AttentionKernels
import CAttentionKernels
import MachineTopology
import RealModule
import Tensors

/// The score matrix `[b, h, nQ, nKV]` of softmax attention under a key pattern, written out: for
/// looking at, and for runtimes whose attention operator has it as an output.
///
/// Quadratic in memory and time, unlike the strategies: 4 b h nQ nKV bytes, 64 MB a head at
/// n = 4096.
public enum ScoreMatrix {
  /// The shape of a problem's score matrix.
  ///
  /// - Throws: `AttentionError` of kind `tooLarge` when its bytes overflow.
  public static func shape(for problem: AttentionProblem) throws(AttentionError) -> TensorShape {
    let shape = problem.shape
    return try TensorShape(shape.batch, shape.heads, shape.queryLength, shape.keyLength)
  }

  /// Computes the score matrix of full attention or of a pattern.
  ///
  /// The rows of unused queries (`queryLengths`) are not written. Results do not depend on the
  /// number of threads. Allocates about 4 L (d + 129) bytes a worker, L being the rows of a panel.
  ///
  /// - Parameters:
  ///   - stage: which scores.
  ///   - problem: what is to be computed.
  ///   - pattern: the keys a query may see; a strategy's `pattern(for:)`, or all by default.
  ///   - query: `[b, h, nQ, d]`, as fp32 whatever the problem's `elements` are.
  ///   - key: `[b, hKV, nKV, d]`, the same.
  ///   - scores: `[b, h, nQ, nKV]`, overwritten.
  ///   - team: the workers.
  /// - Throws: `AttentionError` of kind `shapeMismatch` naming a tensor that does not fit the
  ///   problem, of kind `invalidArgument` for elements other than fp32, of kind `outOfMemory`.
  /// - Complexity: O(b h nQ nKV d) operations.
  public static func compute(
    _ stage: ScoreStage, of problem: AttentionProblem,
    pattern: (MaskGeometry) -> any KeyPattern = { DensePattern($0) }, query: TensorView,
    key: TensorView, into scores: MutableTensorView, on team: WorkerTeam
  ) throws(AttentionError) {
    try expect(query, "query", problem.shape.query)
    try expect(key, "key", problem.shape.key)
    try expect(scores.reading, "scores", shape(for: problem))
    let job = try ScoreMatrixJob(
      stage, problem, LoweredVisibility(problem, pattern: pattern), query: query.unowned,
      key: key.unowned, scores: scores.unowned, threads: team.threadCount)
    withExtendedLifetime((query, key, scores)) { team.run(job) }
  }

  private static func expect(
    _ view: TensorView, _ name: String, _ shape: TensorShape
  ) throws(AttentionError) {
    if view.shape != shape {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape, advice: "the problem needs \(shape)")
    }
    if view.elementType != .float32 {
      throw AttentionError(
        .invalidArgument, argument: name, value: view.elementType.rawValue,
        advice: "score matrices are computed from fp32 tensors")
    }
  }
}

/// Panels of query rows, dealt to the workers one by one.
private final class ScoreMatrixJob: TeamJob {
  private let stage: ScoreStage
  private let problem: AttentionProblem
  private let visibility: LoweredVisibility
  private let query: TensorView
  private let key: TensorView
  private let scores: MutableTensorView
  private let kernels = KernelTable.active
  private let panels: Int
  private let queue: TaskQueue
  private let scratch: PerWorker<ScoreScratch>

  init(
    _ stage: ScoreStage, _ problem: AttentionProblem, _ visibility: LoweredVisibility,
    query: TensorView, key: TensorView, scores: MutableTensorView, threads: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    self.stage = stage
    self.problem = problem
    self.visibility = visibility
    self.query = query
    self.key = key
    self.scores = scores
    panels = (shape.queryLength + kernels.panelLanes - 1) / kernels.panelLanes
    queue = TaskQueue(count: shape.batch * shape.heads * panels)
    scratch = try PerWorker(threads) { [kernels] () throws(AttentionError) -> ScoreScratch in
      try ScoreScratch(shape, lanes: kernels.panelLanes)
    }
  }

  func work(worker: Int) {
    while let task = queue.next() {
      let (entry, panel) = task.quotientAndRemainder(dividingBy: panels)
      let (batch, head) = entry.quotientAndRemainder(dividingBy: problem.shape.heads)
      let first = panel * kernels.panelLanes
      let rows = (first..<first + kernels.panelLanes)
        .clamped(to: 0..<visibility.patterns[batch].geometry.queryLength)
      if rows.isEmpty { continue }
      multiply(scratch[worker], batch, head, rows)
      for row in rows { finish(batch, head, row) }
    }
  }

  /// Writes `scale * q . k` for some rows.
  private func multiply(_ scratch: ScoreScratch, _ batch: Int, _ head: Int, _ rows: Range<Int>) {
    let shape = problem.shape
    let functions = kernels.functions.pointee
    let live = Int32(rows.count)
    for row in rows {
      scratch.queryRows[row - rows.lowerBound] = query.row(batch, head, row)
      scratch.scoreRows[row - rows.lowerBound] = scores.row(batch, head, row)
    }
    functions.pack(
      scratch.queryRows, live, Int32(shape.headDim), problem.scale, scratch.queries)
    let vectors = (rows.count + kernels.vectorLanes - 1) / kernels.vectorLanes
    for first in stride(from: 0, to: shape.keyLength, by: Int(ATTN_BLOCK_KEYS)) {
      let count = min(Int(ATTN_BLOCK_KEYS), shape.keyLength - first)
      for t in 0..<count {
        scratch.keyRows[t] = key.row(batch, head / shape.groupSize, first + t)
      }
      functions.dots(
        scratch.queries, scratch.keyRows, Int32(count), Int32(shape.headDim), Int32(vectors),
        scratch.products)
      functions.unpack(
        scratch.products, scratch.ones, nil, live, Int32(count), scratch.scoreRows)
      for row in 0..<rows.count { scratch.scoreRows[row] += count }
    }
  }

  /// Takes a row of raw scores to the stage that is wanted.
  private func finish(_ batch: Int, _ head: Int, _ row: Int) {
    if stage == .raw { return }
    let functions = kernels.functions
    let keys = problem.shape.keyLength
    let scores = scores.row(batch, head, row)
    if problem.scoring.softcap != nil {
      functions.pointee.softcap_row(scores, Int64(keys), 1, problem.softcap(inUnits: 1))
    }
    if stage == .softcapped { return }
    // Scores that are to be looked at come back from quarters, which are exact, to natural units.
    let unit = stage == .masked ? 0.25 : Float.log16e
    let pattern = visibility.patterns[batch]
    let position = row + pattern.geometry.offset
    var bias =
      visibility.rule?.row(batch, head, row, position: position, unit: unit)
      ?? attn_row_bias(mask: nil, bias: nil, position: 0, columns: Int32(keys), slope: 0)
    functions.pointee.bias_row(scores, Int64(keys), unit, unit, &bias)
    for key in 0..<keys
    where key >= pattern.geometry.keyLength || !pattern.includes(position: position, key: key) {
      scores[key] = -.infinity
    }
    if stage == .masked {
      functions.pointee.scale_row(scores, Int64(keys), 1 / unit)
      return
    }
    var maximum = -Float.infinity
    let sum = functions.pointee.softmax_row(scores, Int64(keys), 1, &maximum)
    var state = SoftmaxState(maximum: maximum, sum: sum)
    if let sinks = problem.scoring.sinkLogits { _ = state.add(sink: sinks[head] * Float.log16e) }
    functions.pointee.scale_row(scores, Int64(keys), state.factor)
  }
}

/// One worker's panel and the rows it reads and writes.
private final class ScoreScratch {
  private let arena: Arena
  let queryRows: UnsafeMutablePointer<UnsafePointer<Float>>
  let scoreRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  let keyRows: UnsafeMutablePointer<UnsafePointer<Float>>
  /// `[d][L]` packed queries.
  let queries: UnsafeMutablePointer<Float>
  /// `[ATTN_BLOCK_KEYS][L]` scores of a block.
  let products: UnsafeMutablePointer<Float>
  /// `[L]` ones.
  let ones: UnsafeMutablePointer<Float>

  init(_ shape: AttentionShape, lanes: Int) throws(AttentionError) {
    var layout = ArenaLayout()
    let queryRows: ArenaPart<UnsafePointer<Float>> = layout.add(lanes)
    let scoreRows: ArenaPart<UnsafeMutablePointer<Float>> = layout.add(lanes)
    let keyRows: ArenaPart<UnsafePointer<Float>> = layout.add(Int(ATTN_BLOCK_KEYS))
    let queries: ArenaPart<Float> = layout.add(lanes * shape.headDim)
    let products: ArenaPart<Float> = layout.add(lanes * Int(ATTN_BLOCK_KEYS))
    let ones: ArenaPart<Float> = layout.add(lanes)
    arena = try Arena(layout)
    self.queryRows = arena[queryRows]
    self.scoreRows = arena[scoreRows]
    self.keyRows = arena[keyRows]
    self.queries = arena[queries]
    self.products = arena[products]
    self.ones = arena[ones]
    self.ones.update(repeating: 1, count: lanes)
  }
}
