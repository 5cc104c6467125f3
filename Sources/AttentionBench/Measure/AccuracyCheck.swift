import Attention
import MachineTopology
import Synchronization

/// Compares an output with fp64 references on some of its rows.
///
/// All rows at n = 100,000 would cost as much as the sweep itself; a few dozen cost O(n) each and
/// find any error that touches more than a few percent of the rows.
public struct AccuracyCheck: Sendable {
  /// One row of the output.
  public struct Position: Hashable, Comparable, Sendable {
    /// Of the batch.
    public let batch: Int
    /// The query head.
    public let head: Int
    /// The query row.
    public let row: Int

    /// Orders as in memory.
    public static func < (left: Position, right: Position) -> Bool {
      (left.batch, left.head, left.row) < (right.batch, right.head, right.row)
    }
  }

  /// How far an output lies from references.
  public struct Distance: Equatable, Sendable {
    /// |output - reference| / |reference|, Euclidean norms over all checked elements.
    public let relativeL2: Double
    /// The largest |output - reference| of one element.
    public let maximumAbsolute: Double
  }

  /// The checked rows, the very first and the very last among them, in memory order.
  public let positions: [Position]
  private let problem: AttentionProblem

  /// Draws the rows: the same for the same problem size, count and seed.
  ///
  /// - Parameter rows: how many; all of them when there are no more.
  public init(_ problem: AttentionProblem, rows: Int = 32, seed: UInt64) {
    self.problem = problem
    let shape = problem.shape
    let total = shape.batch * shape.heads * shape.queryLength
    var chosen: Set<Int> = [0, total - 1]
    if total <= rows {
      chosen = Set(0..<total)
    } else {
      var generator = SeededGenerator(seed: seed, path: [3, total])
      while chosen.count < rows {
        chosen.insert(Int.random(in: 0..<total, using: &generator))
      }
    }
    positions = chosen.sorted().map { index in
      let (head, row) = index.quotientAndRemainder(dividingBy: shape.queryLength)
      return Position(batch: head / shape.heads, head: head % shape.heads, row: row)
    }
  }

  /// What an oracle gives for the checked rows, computed by all workers of a team.
  public func references(
    _ oracle: any AttentionOracle, query: TensorView, key: TensorView, value: TensorView,
    on team: WorkerTeam
  ) -> [OracleRow] {
    let job = OracleJob(positions.count) { index in
      let position = positions[index]
      return oracle.row(
        query: query, key: key, value: value, batch: position.batch, head: position.head,
        row: position.row)
    }
    team.run(job)
    return job.rows
  }

  /// The distance of the checked rows of an output from their references. An element that is not
  /// finite where the reference is makes both figures NaN.
  ///
  /// - Parameter references: one for each of `positions`.
  public func distance(of output: TensorView, from references: [OracleRow]) -> Distance {
    var (difference, norm, largest) = (0.0, 0.0, 0.0)
    for (position, reference) in zip(positions, references) {
      let row = output.base + offset(of: position, in: output)
      for (column, expected) in reference.output.enumerated() {
        let gap = abs(Double(row[column]) - expected)
        guard gap.isFinite else { return Distance(relativeL2: .nan, maximumAbsolute: .nan) }
        difference += gap * gap
        norm += expected * expected
        largest = max(largest, gap)
      }
    }
    let relative = difference == 0 ? 0 : (difference / norm).squareRoot()
    return Distance(relativeL2: relative, maximumAbsolute: largest)
  }

  /// Marks the checked rows as not written, so that a strategy which writes nothing is found out
  /// even where the output holds another's result.
  func invalidate(_ output: MutableTensorView) {
    for position in positions {
      let row = output.base + offset(of: position, in: output.reading)
      row.update(repeating: .nan, count: problem.shape.valueDim)
    }
  }

  private func offset(of position: Position, in view: TensorView) -> Int {
    position.batch * view.batchStride + position.head * view.headStride
      + position.row * view.rowStride
  }
}

/// Oracle rows, one a task.
private final class OracleJob: TeamJob, @unchecked Sendable {
  private let compute: (Int) -> OracleRow
  private let queue: TaskQueue
  private let results: Mutex<[OracleRow]>

  /// `compute` is called from all workers at once: it reads, and writes nothing shared.
  init(_ count: Int, compute: @escaping (Int) -> OracleRow) {
    self.compute = compute
    queue = TaskQueue(count: count)
    results = Mutex(Array(repeating: OracleRow(output: [], logSumExp: 0), count: count))
  }

  var rows: [OracleRow] { results.withLock { $0 } }

  func work(worker: Int) {
    while let index = queue.next() {
      let row = compute(index)
      results.withLock { $0[index] = row }
    }
  }
}
