import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import Testing
import attnbench

/// What commands do where a strategy computes something else than it says.
@Suite("Wrong outputs", .serialized)
struct WrongOutputTests {
  private static let registry = StrategyRegistry.standard.adding(Doubled.family)

  /// Runs a command in this process, with a faulty strategy among the others.
  ///
  /// - Returns: the exit code and what would be said with it.
  private func run<Command: ParsableCommand>(
    _ type: Command.Type, _ arguments: [String]
  ) throws -> (code: Int32, message: String) {
    CommandRegistry.$current.withValue(Self.registry) {
      do {
        var command = try type.parse(arguments)
        try command.run()
        return (0, "")
      } catch {
        let outcome = CommandExit.outcome(of: error)
        return (outcome.code.rawValue, outcome.message ?? "")
      }
    }
  }

  private func sweep(_ strategies: String, into folder: String, resume: Bool = false) throws
    -> (code: Int32, message: String)
  {
    try run(
      SweepCommand.self,
      [
        "--n", "32,64", "--heads", "1", "--strategy", strategies, "--threads", "1", "--rel-ci",
        "100%", "--budget", "1h", "-o", folder,
      ] + (resume ? ["--resume"] : []))
  }

  @Test("sweep keeps them as wrong, draws the others and leaves with 1, also when resumed")
  func swept() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let folder = directory.path("out")
    for resume in [false, true] {
      let (code, message) = try sweep("flash,doubled", into: folder, resume: resume)
      #expect(code == 1)
      #expect(message.contains("wrong output of doubled-n32-t1, doubled-n64-t1"), "\(message)")
      let rows = try RunDirectory.readResults(in: folder).rows
      #expect(rows.count { $0.strategy.name == "doubled" } == (resume ? 4 : 2))
      #expect(rows.count { $0.strategy.name == "flash" } == 2)
      for row in rows {
        #expect((row.status == .wrong) == (row.strategy.name == "doubled"), "\(row.reason)")
      }
    }
    // Other commands read the folder as processes of their own.
    let plot = try AttnbenchProcess.run(
      ["plot", "out", "--kind", "scaling", "--format", "svg"], in: directory.root)
    #expect(plot.code == 0, "\(plot.error)")
    let script = try String(contentsOfFile: directory.path("out/scaling.gp"), encoding: .utf8)
    #expect(script.contains("doubled: 32, 64 wrong"), "\(script)")
    func text(_ name: String) throws -> String {
      try String(contentsOfFile: directory.path("out/\(name)"), encoding: .utf8)
    }
    // A curve without a size, and without an exponent.
    let fit = try text("fits.csv").split(separator: "\n").first { $0.hasPrefix("doubled,") }
    #expect(try #require(fit).hasSuffix(",0,,,,,,,,"))
    for name in ["slopes.csv", "crossovers.csv", "predictions.csv"] {
      #expect(try !text(name).contains("doubled"), "\(name)")
    }
    let report = try AttnbenchProcess.run(["report", "out", "-o", "page.html"], in: directory.root)
    #expect(report.code == 0, "\(report.error)")
    let page = try String(contentsOfFile: directory.path("page.html"), encoding: .utf8)
    #expect(page.contains("4 wrong") || page.contains("2 wrong"))
    let same = try AttnbenchProcess.run(["compare", "out", "out"], in: directory.root)
    #expect(same.output.contains("measured in neither: wrong"), "\(same.output)")
  }

  @Test("sweep without a fault leaves with 0")
  func right() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    #expect(try sweep("flash,full", into: directory.path("out")).code == 0)
  }

  @Test("recommend chooses none of them and leaves with 1")
  func recommended() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let save = directory.path("plan.json")
    let (code, message) = try run(
      RecommendCommand.self,
      [
        "--n", "48", "--strategy", "doubled,flash", "--threads", "1", "--budget", "1h",
        "--per-head", "--save", save,
      ])
    #expect(code == 1)
    #expect(message.contains("wrong output of doubled"), "\(message)")
    let plan = try String(contentsOfFile: save, encoding: .utf8)
    #expect(plan.contains("flash") && !plan.contains("doubled"))
  }

  @Test("--save that saves nothing leaves with 1 and says why")
  func savesNothing() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let save = directory.path("plan.json")
    let (code, message) = try run(
      RecommendCommand.self,
      [
        "--n", "48", "--strategy", "doubled", "--threads", "1", "--budget", "1h", "--per-head",
        "--save", save,
      ])
    #expect(code == 1)
    #expect(message.contains("--save \(save): no plan was saved: no candidate could be measured"))
    #expect(message.contains("doubled wrong, the output is not what its definition gives"))
    #expect(!FileManager.default.fileExists(atPath: save))
  }
}

/// Flash with every element doubled.
private struct Doubled: FamilyStrategy {
  static let family = StrategyFamily(
    "doubled", operatorClass: .exact, summary: "twice what it should be", source: "this test"
  ) { arguments throws(AttentionError) in try Doubled(arguments) }

  init(_ arguments: StrategyArguments) throws(AttentionError) {}

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate {
    try SoftmaxEngine().work(for: problem, threads: threads) { DensePattern($0) }
  }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    Plan(try SoftmaxEngine().plan(for: problem, on: team) { DensePattern($0) })
  }

  private final class Plan: AttentionPlan {
    let inner: any AttentionPlan
    var problem: AttentionProblem { inner.problem }
    var workspaceBytes: Int { inner.workspaceBytes }

    init(_ inner: any AttentionPlan) { self.inner = inner }

    func execute(_ operands: AttentionOperands) {
      inner.execute(operands)
      let output = operands.output
      for index in 0..<output.reading.shape.count { output.base[index] *= 2 }
    }
  }
}
