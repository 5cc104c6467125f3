import ArgumentParser
import Attention
import AttentionBench
import Foundation
import MachineTopology
import TextTable

/// The choices of `attnbench recommend` against brute force.
@main
struct ChooseCheck: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "choose-check",
    abstract: "Holds the choices of recommend against brute force.",
    discussion: """
      Every problem is chosen for as recommend does, once a limit on the error. Then every \
      candidate of a denser grid is run on the same tensors, its error taken in fp64 on other rows, \
      and those near the best are timed with the choice in the same rounds. Regret is the time of \
      the choice over that of the best admissible candidate, less 1; a bound is violated when the \
      choice's error on the fresh rows is above the limit.
      """)

  @Option(help: "Limits on the relative L2 error, comma-separated.")
  var limits = "3e-1,1e-1,3e-2,1e-2"

  @Option(help: "More tensors: FILE.safetensors[:PREFIX]; may be given several times.")
  var inputs: [String] = []

  @Option(help: "Rows of each head that recommend measures errors on (default: as it does).")
  var errorRows: Int?

  @Option(help: "Rows of each head in the fresh sample.")
  var freshRows = 512

  @Option(help: "Workers.")
  var threads: Int?

  @Option(help: "Seed of the made-up tensors and of the rows.")
  var seed: UInt64 = 20

  @Option(help: "Only the problems whose names contain this.")
  var only = ""

  @Flag(help: "Two made-up problems and one real one.")
  var quick = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "Folder of the CSV (default: results/choose-check; .build for a part of the problems).")
  var output: String?

  func run() throws {
    _ = try BLASEnvironment.prepare(keep: false)
    let limits = try limits.split(separator: ",").map { text in
      guard let limit = Double(text), limit > 0 else {
        throw ValidationError("--limits \(text): is no positive number")
      }
      return limit
    }
    let topology = try MachineTopology.host()
    let placement = try SweepPlacement(
      threads: threads ?? max(topology.allowedCores.count, 1), binding: nil, topology: topology)
    var verdicts: [Verdict] = []
    let works = try works().filter { only.isEmpty || $0.name.contains(only) }
    if works.isEmpty { throw ValidationError("--only \(only): is in the name of no problem") }
    for work in works {
      say(work.name)
      verdicts += try Check(
        work: work, placement: placement, topology: topology,
        errorRows: errorRows.map { .perHead($0) } ?? .automatic, freshRows: freshRows, seed: seed,
        say: say
      ).run(limits: limits)
    }
    try write(verdicts)
    print(Self.table(verdicts))
    print(Self.summary(verdicts))
    if verdicts.contains(where: \.isViolated) { throw ExitCode.failure }
  }

  private func works() throws -> [Work] {
    let fixture = "Tests/Fixtures/real/minilm-n512-layers0and3.safetensors"
    let real = (quick ? ["layer3"] : ["layer0", "layer3"]).map { "\(fixture):\($0)" }
    return try Work.madeUp(quick: quick, seed: seed) + (real + inputs).map { try Work.real($0) }
  }

  private func say(_ line: String) { FileHandle.standardError.write(Data("\(line)\n".utf8)) }

  private static func table(_ verdicts: [Verdict]) -> String {
    func time(_ candidate: Candidate) -> String {
      candidate.seconds.map { TimeSpan.rounded(seconds: $0) } ?? ""
    }
    func error(_ value: Double?) -> String { value.map { String(format: "%.2e", $0) } ?? "" }
    let table = TextTable<Verdict> {
      [
        Column(title: "problem", value: $0.work),
        Column(title: "limit", value: String(format: "%.0e", $0.limit), align: .right),
        Column(title: "choice", value: $0.choice.strategy),
        Column(title: "time", value: time($0.choice), align: .right),
        Column(title: "fresh error", value: error($0.choice.relativeError), align: .right),
        Column(title: "best by brute force", value: $0.best.strategy),
        Column(title: "time", value: time($0.best), align: .right),
        Column(title: "regret", value: String(format: "%.1f%%", 100 * $0.regret), align: .right),
        Column(title: "bound", value: $0.isViolated ? "VIOLATED" : "kept"),
      ]
    }
    return (table.string(for: verdicts) ?? "").trimmingCharacters(in: .newlines)
  }

  private static func summary(_ verdicts: [Verdict]) -> String {
    guard let regrets = SampleSummary(verdicts.map(\.regret)) else { return "no choices" }
    let within = verdicts.filter { $0.regret <= 0.05 }.count
    let violated = verdicts.filter(\.isViolated).count
    return String(
      format: "%d choices: regret median %.1f%%, worst %.1f%%, %d within 5%%; bounds violated: %d",
      verdicts.count, 100 * regrets.median, 100 * regrets.maximum, within, violated)
  }

  private func write(_ verdicts: [Verdict]) throws {
    // A part does not take the place of the whole.
    let output = output ?? (quick || !only.isEmpty ? ".build" : "results/choose-check")
    try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
    var lines = [
      "problem,max_rel_l2_error,choice,choice_time_s,choice_claimed_error,choice_fresh_error,"
        + "best,best_time_s,best_fresh_error,regret,violated,candidates_searched,"
        + "candidates_surveyed"
    ]
    func quoted(_ text: String) -> String { "\"\(text)\"" }
    func number(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }
    for verdict in verdicts {
      lines.append(
        [
          quoted(verdict.work), number(verdict.limit), quoted(verdict.choice.strategy),
          number(verdict.choice.seconds), number(verdict.claimedError),
          number(verdict.choice.relativeError), quoted(verdict.best.strategy),
          number(verdict.best.seconds), number(verdict.best.relativeError),
          number(verdict.regret), "\(verdict.isViolated)", "\(verdict.searched)",
          "\(verdict.surveyed)",
        ].joined(separator: ","))
    }
    let path = "\(output)/regret.csv"
    try (lines.joined(separator: "\n") + "\n").write(
      toFile: path, atomically: true, encoding: .utf8)
    say("wrote \(path)")
  }
}
