import AttentionContract
import AttentionKernels
import Tensors

/// Sizes of attention through landmarks, worked out without allocating.
///
/// Two softmax problems and a small matrix between them: landmarks of queries attend to all keys, and all
/// queries attend to landmarks of keys, whose values are the inverse times what the first gave.
struct LandmarkLayout: Sendable {
  let problem: AttentionProblem
  let shape: LandmarkShape
  let threads: Int
  /// `[b]`, landmarks in use.
  let counts: [Int]
  /// Landmarks of the longest sequence, m.
  let most: Int
  let gathering: AttentionProblem
  let spreading: AttentionProblem
  /// What workers share: `[b, h, m, d]` landmarks of queries and, for each query head, of keys; `[b, h, m, dV]`
  /// what these get for values.
  private(set) var shared = ArenaLayout()
  let queries: ArenaPart<Float>
  let keys: ArenaPart<Float>
  let values: ArenaPart<Float>
  let scratch: Scratch

  /// One worker's memory.
  struct Scratch: Sendable {
    var arena = ArenaLayout()
    /// `[d]` a row as fp32, and sums of rows.
    let row: ArenaPart<Float>
    let sums: ArenaPart<Double>
    /// `[m][d]` landmarks.
    let queries: ArenaPart<Double>
    let keys: ArenaPart<Double>
    /// `[m][m]` each: the matrix, its inverse so far, and what a step needs.
    let matrix: ArenaPart<Double>
    let inverse: ArenaPart<Double>
    let product: ArenaPart<Double>
    let left: ArenaPart<Double>
    let right: ArenaPart<Double>
    /// `[m][dV]`.
    let gathered: ArenaPart<Double>
    let values: ArenaPart<Double>

    init(landmarks m: Int, _ shape: AttentionShape) {
      row = arena.add(shape.headDim)
      sums = arena.add(shape.headDim)
      queries = arena.add(m * shape.headDim)
      keys = arena.add(m * shape.headDim)
      matrix = arena.add(m * m)
      inverse = arena.add(m * m)
      product = arena.add(m * m)
      left = arena.add(m * m)
      right = arena.add(m * m)
      gathered = arena.add(m * shape.valueDim)
      values = arena.add(m * shape.valueDim)
    }
  }

  init(
    _ problem: AttentionProblem, _ landmarks: LandmarkShape, threads: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    self.problem = problem
    self.shape = landmarks
    self.threads = threads
    let counts = (0..<shape.batch).map { landmarks.count(in: problem.geometry(batch: $0)) }
    let most = min(landmarks.landmarks, shape.queryLength, shape.keyLength)
    self.counts = counts
    self.most = most
    let lengths = counts.allSatisfy { $0 == most } ? nil : counts
    let scoring = Scoring(scale: problem.scale)
    let (visibility, storage) = (problem.visibility, problem.storage)
    gathering = try AttentionProblem(
      AttentionShape(
        batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads, queryLength: most,
        keyLength: shape.keyLength, headDim: shape.headDim, valueDim: shape.valueDim),
      scoring: scoring,
      visibility: Visibility(queryLengths: lengths, keyLengths: visibility.keyLengths),
      storage: Storage(.float32, keyValue: storage.keyValue, output: .float32))
    spreading = try AttentionProblem(
      AttentionShape(
        batch: shape.batch, heads: shape.heads, queryLength: shape.queryLength, keyLength: most,
        headDim: shape.headDim, valueDim: shape.valueDim),
      scoring: scoring,
      visibility: Visibility(queryLengths: visibility.queryLengths, keyLengths: lengths),
      storage: Storage(storage.query, keyValue: .float32, output: storage.output))
    let rows = shape.batch * shape.heads * most
    queries = shared.add(rows * shape.headDim)
    keys = shared.add(rows * shape.headDim)
    values = shared.add(rows * shape.valueDim)
    scratch = Scratch(landmarks: most, shape)
  }

  func work() throws(AttentionError) -> WorkEstimate {
    let shape = problem.shape
    let first = try SoftmaxEngine().work(for: gathering, threads: threads) { DensePattern($0) }
    let second = try SoftmaxEngine().work(for: spreading, threads: threads) { DensePattern($0) }
    var (between, own) = (0, 0)
    for (batch, count) in counts.enumerated() where count > 0 {
      let geometry = problem.geometry(batch: batch)
      between += count * count * shape.heads
      own +=
        shape.heads * (self.shape.inverseFlops(count, shape) + geometry.queryLength * shape.headDim)
        + shape.kvHeads * geometry.keyLength * shape.headDim
    }
    return WorkEstimate(
      pairs: first.pairs + second.pairs + between, flops: first.flops + second.flops + own,
      minimumBytes: problem.minimumBytes,
      workspaceBytes: first.workspaceBytes + second.workspaceBytes + ownBytes)
  }

  /// Bytes of a plan beside those of its two softmax plans.
  var ownBytes: Int { shared.bytes + threads * scratch.arena.bytes }
}
