import Attention
import MachineTopology
import Records
import Statistics
import Units

/// Compares an output with fp64 references on some of its rows.
///
/// All rows at n = 100,000 would cost as much as the sweep itself; a few dozen cost O(n) each and
/// find any error that touches more than a few percent of the rows.
public struct AccuracyCheck: Sendable {
  public let rows: [SampledRow]

  /// Draws the rows: the same for the same sizes, limit and seed.
  ///
  /// - Parameter limit: how many; all of them when there are no more.
  public init(_ shape: AttentionShape, limit: Int = 32, seed: UInt64) {
    rows = RowSample(shape, limit: limit, seed: seed).rows
  }

  /// Draws rows of every head of every batch entry: one at random from each of `rowsPerHead` equal
  /// stretches of its rows, so that no part of the sequence goes unseen.
  init(_ shape: AttentionShape, rowsPerHead: Int, seed: UInt64) {
    let count = min(max(rowsPerHead, 1), shape.queryLength)
    var generator = SeededGenerator(seed: seed, path: [7])
    var rows: [SampledRow] = []
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        for stretch in 0..<count {
          let from = stretch * shape.queryLength / count
          let to = (stretch + 1) * shape.queryLength / count
          rows.append(
            SampledRow(
              batch: batch, head: head, row: Int.random(in: from..<to, using: &generator)))
        }
      }
    }
    self.rows = rows
  }

  /// What an oracle gives for the checked rows, computed by all workers of a team.
  public func references(
    _ oracle: any AttentionOracle, _ inputs: InputViews, on team: WorkerTeam
  ) -> [OracleRow] {
    rows.map(with: oracle, inputs, on: team) { oracle, views, row in
      oracle.row(views, batch: row.batch, head: row.head, row: row.row)
    }
  }

  /// All that an oracle holds right for each of the checked rows.
  func admissible(
    _ oracle: any AttentionOracle, _ inputs: InputViews, on team: WorkerTeam
  ) -> [[OracleRow]] {
    rows.map(with: oracle, inputs, on: team) { oracle, views, row in
      oracle.admissible(views, batch: row.batch, head: row.head, row: row.row)
    }
  }

  /// The checked rows of an output; nobody has asked for their LSE, which are those of `others`.
  func rows(of output: TensorView, logSumExpsOf others: [OracleRow]) -> [OracleRow] {
    zip(rows, others).map { row, other in
      OracleRow(
        output: output.floats(row.batch, row.head, row.row).map(Double.init),
        logSumExp: other.logSumExp)
    }
  }

  /// How far the checked rows of an output lie from their references.
  ///
  /// - Parameter references: one for each of `rows`.
  public func errors(of output: TensorView, against references: [OracleRow]) -> RowErrors {
    var errors = RowErrors()
    for (row, reference) in zip(rows, references) {
      let computed = output.floats(row.batch, row.head, row.row).map(Double.init)
      // Sweeps do not ask for the LSE.
      errors.add(
        OracleRow(output: computed, logSumExp: reference.logSumExp), reference: reference)
    }
    return errors
  }

  /// Marks the checked rows as not written, so that a strategy which writes nothing is found out
  /// even where the output holds another's result.
  func invalidate(_ output: MutableTensorView) {
    for row in rows {
      // All bits set is a NaN in every floating-point type.
      output.rowAddress(row.batch, row.head, row.row).initializeMemory(
        as: UInt8.self, repeating: 0xFF,
        count: output.reading.elementType.rowBytes(columns: output.reading.shape.columns))
    }
  }
}
