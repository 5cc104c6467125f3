import ArgumentParser
import Attention
import AttentionBench
import Foundation
import Suggestions
import Synchronization

/// `attnbench`: the root of the commands.
struct Attnbench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attnbench",
    abstract: "Measures, checks and chooses CPU attention.",
    discussion: """
      Example: attnbench sweep --n 1k..100k -o out && attnbench plot out
      Exit codes: 0 ok, 1 failure or mismatch, 2 regression, 64 usage, 130 interrupted with results kept.
      """,
    version: AttnbenchVersion.current,
    subcommands: [
      SweepCommand.self,
      RecommendCommand.self,
      RetrieveCommand.self,
      VerifyCommand.self,
      RunCommand.self,
      PlotCommand.self,
      PlanCommand.self,
      ReportCommand.self,
      CompareCommand.self,
      ListCommand.self,
      TopoCommand.self,
      MaskCommand.self,
    ])

  /// What the user types after `attnbench`.
  static var commandNames: [String] {
    configuration.subcommands.flatMap { command in
      [command.configuration.commandName ?? ""] + command.configuration.aliases
    }
  }
}

/// The entry of the process.
@main
enum Main {
  private static let settledBLAS = Mutex<BLASEnvironment?>(nil)

  /// What became of OpenBLAS's environment; settled, which may replace the process, by the first call.
  static func blasEnvironment(keep: Bool) throws -> BLASEnvironment {
    try settledBLAS.withLock { settled in
      if let settled { return settled }
      let now = try BLASEnvironment.prepare(keep: keep)
      settled = now
      return now
    }
  }

  static func main() {
    BLASEnvironment.answerIfOnTrial()
    // A file size limit shall fail the write, which is reported, not end the process.
    signal(SIGXFSZ, SIG_IGN)
    do {
      if let problem = KernelTable.environmentProblem { throw problem }
      try refuseUnknownCommand(CommandLine.arguments.dropFirst().first)
      var command = try Attnbench.parseAsRoot()
      // Before the command reads anything or starts a thread.
      if let command = command as? any BLASCommand { _ = try command.blas }
      try command.run()
    } catch {
      leave(CommandExit.outcome(of: error))
    }
  }

  /// The argument parser calls a misspelt command an unexpected argument and suggests nothing.
  private static func refuseUnknownCommand(_ word: String?) throws(UsageError) {
    let names = Attnbench.commandNames
    guard let word, !word.hasPrefix("-"), word != "help", !names.contains(word) else { return }
    let nearest = NearestName.suggestions(for: word, among: names).first
    let advice =
      nearest.map { "did you mean '\($0)'?" } ?? "there are \(names.joined(separator: ", "))"
    throw UsageError("unknown command '\(word)'; \(advice) (attnbench --help)")
  }

  private static func leave(_ outcome: CommandExit.Outcome) -> Never {
    guard let message = outcome.message else { exit(outcome.code.rawValue) }
    guard outcome.isData else {
      Terminal.say(message)
      exit(outcome.code.rawValue)
    }
    do {
      try Terminal.print(message)
      exit(outcome.code.rawValue)
    } catch {
      leave(CommandExit.outcome(of: error))
    }
  }
}
