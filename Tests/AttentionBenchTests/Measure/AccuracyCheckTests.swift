import Attention
import AttentionBench
import MachineTopology
import Testing

@Suite struct AccuracyCheckTests {
  private let shape: AttentionShape
  private let problem: AttentionProblem
  private let tensors: ProblemTensors
  private let team: WorkerTeam

  init() throws {
    shape = try AttentionShape(
      batch: 2, heads: 2, kvHeads: 1, queryLength: 90, headDim: 8, valueDim: 5)
    problem = try AttentionProblem(shape, visibility: Visibility(causal: true))
    tensors = try ProblemTensors(random: shape, seed: 7)
    team = try WorkerTeam(threads: 2)
  }

  private func references(_ check: AccuracyCheck) -> [OracleRow] {
    check.references(SoftmaxOracle(full: problem), tensors.views, on: team)
  }

  @Test func rowsAreDrawnBySeedWithTheLastAmongThem() throws {
    let check = AccuracyCheck(shape, seed: 1)
    #expect(check.rows.count == 32)
    #expect(Set(check.rows).count == 32)
    #expect(check.rows.contains { $0.batch == 1 && $0.head == 1 && $0.row == 89 })
    #expect(check.rows.contains { $0.row == 0 })
    #expect(check.rows == AccuracyCheck(shape, seed: 1).rows)
    #expect(check.rows != AccuracyCheck(shape, seed: 2).rows)
    #expect(AccuracyCheck(shape, limit: 1000, seed: 1).rows.count == 360)
  }

  @Test func aKnownPerturbationIsFound() throws {
    let check = AccuracyCheck(shape, limit: 1000, seed: 1)
    let references = references(check)
    let output = try Tensor(shape.output)
    // Every element 1% too large, and one of them another 0.5.
    for (row, reference) in zip(check.rows, references) {
      let base = ((row.batch * 2 + row.head) * 90 + row.row) * 5
      for (column, value) in reference.output.enumerated() {
        output.elements[base + column] = Float(value * 1.01)
      }
    }
    #expect(abs(check.errors(of: output.view, against: references).relativeL2 - 0.01) < 1e-7)
    output.elements[17] += 0.5
    let spoilt = check.errors(of: output.view, against: references)
    #expect(abs(spoilt.maximum - 0.5) < 0.05)
    #expect(spoilt.relativeL2 > 0.01)
  }

  @Test func workersAgreeWithOneThread() throws {
    let check = AccuracyCheck(shape, seed: 3)
    let oracle = SoftmaxOracle(full: problem)
    let expected = check.rows.map { row in
      oracle.row(
        InputViews(query: tensors.query.view, key: tensors.key.view, value: tensors.value.view),
        batch: row.batch, head: row.head, row: row.row)
    }
    #expect(references(check) == expected)
  }
}
