import Attention
import AttentionBench
import Foundation
import MachineTopology
import Testing

@Suite struct QualityFiguresTests {
  private let problem: AttentionProblem
  private let team: WorkerTeam

  init() throws {
    problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 200, headDim: 64), visibility: Visibility(causal: true))
    team = try WorkerTeam(threads: 2)
  }

  /// All but `fixed` were measured, at a millisecond each.
  private var candidates: [Candidate] {
    [("flash", ""), ("window", "64"), ("strided", "16"), ("linear", "elu"), ("fixed", "8, 2")].map {
      name, parameters in
      var row = ResultRow.measured(
        name, n: 200, seconds: 0.001, status: name == "fixed" ? .skippedTime : .ok)
      row.strategy.parameters = parameters
      return Candidate(row)
    }
  }

  private func figures(
    memory: Int = 1 << 30, stop: StopFlag = StopFlag()
  ) throws -> QualityFigures {
    try QualityFigures(
      problem, candidates: candidates, team: team,
      memoryLimit: ByteCount(memory), stop: stop)
  }

  private func tensors(_ operands: [OperandDeclaration] = []) throws -> ProblemTensors {
    try SweepInputs.normal(seed: 1).tensors(for: problem, operands)
  }

  @Test func restrictedStrategiesThatWereMeasuredAreCertified() throws {
    var figures = try figures()
    try figures.certify(within: 10, tensors: { try tensors($0) })
    #expect(figures.certificates.keys.sorted() == ["strided(16)", "window(64)"])
    #expect(figures.certificates.values.allSatisfy { $0.rowCount == 400 })
    #expect(figures.notes.isEmpty)
    #expect(figures.foundShares.isEmpty)
  }

  @Test func needlesAreLookedForByAllThatWereMeasured() throws {
    var figures = try figures()
    try figures.retrieve(seed: 1)
    #expect(
      figures.foundShares.keys.sorted() == ["flash", "linear(elu)", "strided(16)", "window(64)"])
    #expect(figures.foundShares["flash"] == 1)
    let window = try #require(figures.foundShares["window(64)"])
    #expect(window > 0.8 && window < 1)
  }

  @Test func whatDoesNotFitTheBudgetIsSaid() throws {
    var none = try figures()
    try none.certify(within: 1e-6) { _ in fatalError("tensors are not needed") }
    #expect(none.certificates.isEmpty)
    #expect(none.notes.count == 1 && none.notes[0].contains("left of the budget"))
    // Enough for the scores and for one strategy, run twice.
    var one = try figures()
    try one.certify(within: 0.0035, tensors: { try tensors($0) })
    #expect(one.certificates.count == 1)
    #expect(one.notes == ["no certified bound for strided(16): the budget is spent"])
    var small = try figures(memory: 1000)
    try small.certify(within: 10) { _ in fatalError("tensors are not needed") }
    #expect(small.notes.count == 1 && small.notes[0].contains("memory"))
  }

  @Test func aRaisedFlagEndsIt() throws {
    let stop = StopFlag()
    stop.raise()
    var figures = try figures(stop: stop)
    try figures.certify(within: 10) { _ in fatalError("tensors are not needed") }
    #expect(figures.certificates.isEmpty)
  }

  @Test func theyGoIntoTheRecommendationAndItsJSON() throws {
    var figures = try figures()
    try figures.certify(within: 10, tensors: { try tensors($0) })
    try figures.retrieve(seed: 1)
    let rows = ["flash", "window"].map { name in
      var row = ResultRow.measured(name, n: 200, seconds: 0.001)
      row.strategy.parameters = name == "window" ? "64" : ""
      return row
    }
    let plain = Recommendation(rows, requirements: Requirements())
    let result = plain.adding(figures)
    #expect(result.choice == plain.choice)
    let data = try JSONEncoder().encode(result)
    let object = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    let written = try #require(object["candidates"] as? [[String: Any]])
    let window = try #require(written.first { $0["strategy"] as? String == "window(64)" })
    let certificate = try #require(window["certificate"] as? [String: Any])
    #expect(certificate["rows"] as? Int == 400)
    #expect(certificate["mass_kept_mean"] as? Double != nil)
    #expect(window["retrieval_found_share"] as? Double != nil)
    let flash = try #require(written.first { $0["strategy"] as? String == "flash" })
    #expect(flash["certificate"] == nil)
    #expect(try JSONDecoder().decode(Recommendation.self, from: data) == result)
  }
}
