import Attention
import Foundation
import Records
import Statistics
import Units

/// Loads OpenBLAS in another way in a process of its own, where it may crash: some kernels need
/// instructions that the processor lacks, and the library does not look.
enum BLASTrial {
  /// Holds the process number of who asks, so that no environment can ask by accident.
  private static let question = "ATTNBENCH_BLAS_TRIAL"
  /// No kernel takes that long; one that hangs must not take the command with it.
  private static let seconds: UInt32 = 10

  /// Answers, and ends the process, where its parent started it as a trial.
  static func answerIfAsked() {
    guard ProcessInfo.processInfo.environment[question] == "\(getppid())" else { return }
    alarm(seconds)
    var limit = rlimit(rlim_cur: 0, rlim_max: 0)
    setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
    BLASLibrary.useOneThread()
    let isRight = BLASProduct.firstFault() == nil
    let rate = (try? BLASSpeed.productRate()) ?? 0
    print("\(BLASLibrary.core) \(isRight) \(rate)")
    exit(0)
  }

  /// Starts this program again as a trial.
  ///
  /// - Returns: nil when it crashed, hung or could not be started.
  static func run(_ candidate: BLASChoice.Candidate) -> BLASChoice.Trial? {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe")
    process.arguments = []
    process.environment = candidate.applied(to: ProcessInfo.processInfo.environment)
      .merging([question: "\(getpid())"]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    let answer = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else { return nil }
    return trial(String(decoding: answer, as: UTF8.self))
  }

  /// Reads `SkylakeX true 89.1`.
  static func trial(_ answer: String) -> BLASChoice.Trial? {
    let words = answer.split(whereSeparator: \.isWhitespace)
    guard words.count == 3, let isRight = Bool(String(words[1])), let rate = Double(words[2]) else {
      return nil
    }
    return BLASChoice.Trial(core: String(words[0]), isRight: isRight, gflopPerSecond: rate)
  }
}
