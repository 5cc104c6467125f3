import ArgumentParser
import Attention
import AttentionBench
import DistributedAttention
import Glibc
import MachineTopology
import MessagePassing

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
  static func main() {
    let communicator: Communicator
    do {
      communicator = try Communicator()
    } catch {
      Console.note("error: \(error)")
      exit(1)
    }
    do {
      let arguments = Array(CommandLine.arguments.dropFirst())
      // First of all: ranks that mean different things must not begin to talk about them.
      try communicator.expectAlike([
        ("the arguments", arguments.joined(separator: " ")),
        ("the version", AttnbenchVersion.current), ("the program's fingerprint", fingerprint()),
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
      try communicator.close()
      exit(0)
    } catch let failure as AgreedFailure {
      if failure.isMineToPrint, !failure.description.isEmpty {
        if failure.exitCode == 0 {
          Console.print(failure.description)
        } else {
          Console.note(failure.description)
        }
      }
      try? communicator.close()
      exit(failure.exitCode)
    } catch {
      // The others are in the middle of something: they cannot be asked to end by themselves.
      Console.note("error: attnbench-mpi, seen by rank \(communicator.rank): \(error)")
      communicator.abort(code: 1)
      exit(1)
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
    case is TopologyError: return ("error: \(error)", 1)
    default:
      return (
        AttnbenchMPI.fullMessage(for: error), AttnbenchMPI.exitCode(for: error).rawValue
      )
    }
  }

  /// A number of the program file's bytes (Fowler, Noll and Vo's FNV-1a over words): ranks of two builds
  /// may have one version and different code.
  private static func fingerprint() -> String {
    guard let file = fopen("/proc/self/exe", "r") else { return "unknown" }
    defer { fclose(file) }
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    let words = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: 1 << 17)
    defer { words.deallocate() }
    while true {
      words.update(repeating: 0)
      let count = fread(words.baseAddress, 1, words.count * 8, file)
      if count == 0 { break }
      for word in words[..<((count + 7) / 8)] { hash = (hash ^ word) &* 0x100_0000_01B3 }
    }
    return String(hash, radix: 16)
  }
}
