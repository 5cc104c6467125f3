import Attention
import MachineTopology

/// Full softmax attention, which errors are measured against.
///
/// On every row in fp64 where that is cheap. Otherwise on every row as an exact strategy computes it
/// in fp32, where fp64 confirms it on some rows; what its distance from fp64 is not above, by these, is
/// added to every error. Where running an exact strategy is not affordable or its output is wrong: on sampled rows
/// in fp64.
package final class FullReference {
  private enum Form {
    case rows([OracleRow], of: AccuracyCheck)
    case output(Tensor, error: Double)
  }

  /// fp64 multiply-adds that count as cheap: about a second on one core.
  static let affordable = 1_500_000_000
  /// Rows of a head that are sampled at least.
  static let leastRows = 64

  private let shape: AttentionShape
  private let form: Form

  /// Sampled or all rows in fp64: as many of each head as are affordable.
  ///
  /// - Parameter rowsPerHead: how many rows of each head of each batch entry; nil for what is
  ///   affordable.
  package init(
    _ problem: AttentionProblem, rowsPerHead: Int?, seed: UInt64, tensors: ProblemTensors,
    team: WorkerTeam
  ) {
    shape = problem.shape
    let check = AccuracyCheck(
      shape, rowsPerHead: rowsPerHead ?? Self.affordableRows(shape), seed: seed)
    form = .rows(
      check.references(
        SoftmaxOracle(full: problem), query: tensors.query.view, key: tensors.key.view,
        value: tensors.value.view, on: team), of: check)
  }

  /// Why an output cannot stand for full attention.
  package struct WrongOutput: Error {
    /// What is wrong, with the numbers.
    package let fault: String
  }

  /// All rows as an exact strategy computes them from fp32 tensors, if fp64 confirms some of them.
  ///
  /// - Throws: `AttentionError` when the strategy refuses or memory does.
  package static func computed(
    by strategy: any AttentionStrategy, _ problem: AttentionProblem, seed: UInt64,
    tensors: ProblemTensors, team: WorkerTeam
  ) throws(AttentionError) -> Result<FullReference, WrongOutput> {
    let output = try Tensor(problem.shape.output)
    output.poison()
    try strategy.plan(for: problem, on: team).run(
      AttentionOperands(
        query: tensors.query.view, key: tensors.key.view, value: tensors.value.view,
        output: output.mutableView))
    let check = AccuracyCheck(problem.shape, seed: seed)
    let expected = try ExpectedRows(
      of: strategy, on: problem, check, tensors: tensors, seed: seed, isFull: true, team: team)
    let found = expected.compare(output.view, check)
    if let fault = found.fault { return .failure(WrongOutput(fault: fault)) }
    // From a sample, like every error: what counts is what it is not above.
    let heads = problem.shape.batch * problem.shape.heads
    let sampled = FullReference(
      problem, rowsPerHead: max(4, 32 / heads), seed: seed, tensors: tensors, team: team)
    return .success(
      FullReference(
        problem.shape, .output(output, error: sampled.errors(of: output.view).whole.upper)))
  }

  private init(_ shape: AttentionShape, _ form: Form) {
    self.shape = shape
    self.form = form
  }

  /// Rows of each head that fp64 can afford: all of them for small problems.
  static func affordableRows(_ shape: AttentionShape) -> Int {
    let perRow = shape.keyLength * (shape.headDim + shape.valueDim)
    let heads = shape.batch * shape.heads
    return min(max(affordable / perRow / heads, leastRows), shape.queryLength)
  }

  /// Whether fp64 on all rows is affordable, or no more than what is sampled at least.
  static func isAffordable(_ shape: AttentionShape) -> Bool {
    affordableRows(shape) == shape.queryLength
  }

  /// How far an output is from full attention.
  package func errors(of output: TensorView) -> HeadErrors {
    var sums = [SquaredErrors](repeating: SquaredErrors(), count: shape.heads)
    switch form {
    case .rows(let references, let check):
      for (place, reference) in zip(check.rows, references) {
        reference.output.withUnsafeBufferPointer { expected in
          sums[place.head].add(row(of: output, place.batch, place.head, place.row)) {
            expected[$0]
          }
        }
      }
      return HeadErrors(sums, rowsPerHead: shape.batch * shape.queryLength, referenceError: 0)
    case .output(let full, let error):
      let reference = full.view
      for batch in 0..<shape.batch {
        for head in 0..<shape.heads {
          for place in 0..<shape.queryLength {
            let expected = row(of: reference, batch, head, place)
            sums[head].add(row(of: output, batch, head, place)) { Double(expected[$0]) }
          }
        }
      }
      return HeadErrors(
        sums, rowsPerHead: shape.batch * shape.queryLength, referenceError: error)
    }
  }

  private func row(
    of view: TensorView, _ batch: Int, _ head: Int, _ row: Int
  ) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(
      start: view.base + batch * view.batchStride + head * view.headStride + row * view.rowStride,
      count: shape.valueDim)
  }
}

extension SquaredErrors {
  /// Adds a row. An element that is not finite where the reference is makes the error infinite;
  /// where the reference is not finite either there is no distance to take.
  fileprivate mutating func add(
    _ row: UnsafeBufferPointer<Float>, expected: (Int) -> Double
  ) {
    var (error, reference) = (0.0, 0.0)
    for column in row.indices {
      let wanted = expected(column)
      guard wanted.isFinite else { return addUndefined() }
      let difference = Double(row[column]) - wanted
      error += difference.isFinite ? difference * difference : .infinity
      reference += wanted * wanted
    }
    add(error: error, reference: reference)
  }
}
