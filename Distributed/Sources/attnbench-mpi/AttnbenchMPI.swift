import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing
import TensorFiles

/// A subcommand that all ranks run together.
protocol RankCommand: ParsableCommand {
  /// Seconds that a rank may be silent.
  var timeLimit: String { get }
  /// Does the work on this rank.
  func run(on communicator: Communicator) throws
}

/// `attnbench-mpi`: attention over several processes.
struct AttnbenchMPI: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attnbench-mpi",
    abstract: "Attention over several processes: measure, verify, predict.",
    discussion: """
      Started by MPI's launcher, all ranks with the same arguments:
      mpirun -n 2 attnbench-mpi sweep --n 64k --strategy flash --causal --scheme ring
      """,
    version: AttnbenchVersion.current,
    subcommands: [SweepCommand.self, VerifyCommand.self, PlanCommand.self])
}

@main
enum Program {
  static let name = "attnbench-mpi"

  static func main() {
    // Before MPI knows the process, since this may replace it: OpenBLAS on the best kernels it has.
    do {
      _ = try BLASEnvironment.prepare(keep: false)
    } catch {
      Console.note("error: \(error)")
      exit(1)
    }
    RankProgram.run(name) { communicator in
      let arguments = Array(CommandLine.arguments.dropFirst())
      // First of all: ranks that mean different things must not begin to talk about them.
      try communicator.expectAlike([
        ("the arguments", arguments.joined(separator: " ")),
        ("the version", AttnbenchVersion.current), ("the program's fingerprint", fingerprint),
      ])
      let command = try communicator.agree(
        {
          var command = try AttnbenchMPI.parseAsRoot(arguments)
          guard let rankCommand = command as? any RankCommand else {
            // Help and version.
            try command.run()
            throw CleanExit.helpRequest()
          }
          communicator.timeLimit =
            try TimeSpan(parsing: rankCommand.timeLimit, argument: "--time-limit").seconds
          return rankCommand
        }, failure: outcome)
      try command.run(on: communicator)
    }
  }

  /// What to print about an error, and the code to leave with: 0 for help, 64 for what cannot be meant, 1
  /// otherwise.
  static func outcome(_ error: any Error) -> (text: String, exitCode: Int32) {
    switch error {
    case let error as AttentionError:
      let isUsage = error.kind == .invalidArgument || error.kind == .unknownStrategy
      return ("error: \(error)", isUsage ? 64 : 1)
    case is PlanError: return ("error: \(error)", 64)
    case is TopologyError, is RecordError, is PlotError, is OutputError:
      return ("error: \(error)", 1)
    default:
      return (
        AttnbenchMPI.fullMessage(for: error), AttnbenchMPI.exitCode(for: error).rawValue
      )
    }
  }

  /// Of the program file's bytes: ranks of two builds may have one version and different code.
  private static var fingerprint: String {
    (try? FileFingerprint(of: "/proc/self/exe"))?.description ?? "unknown"
  }
}
