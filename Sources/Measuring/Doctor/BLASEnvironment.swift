import Attention
import Foundation
import MachineTopology
import Records
import Statistics
import Units

/// Puts the baseline on the best kernels that OpenBLAS has for the processor.
///
/// OpenBLAS reads `OPENBLAS_CORETYPE` and its relatives when it is loaded, before `main`. A program
/// that finds lesser kernels in force than the processor can run replaces itself by itself, once, with
/// the better ones asked for; see `BLASChoice`.
public struct BLASEnvironment: Hashable, Sendable {
  /// Settings that the process was started with, each as `NAME=value`.
  public internal(set) var found: [String] = []
  /// Those of them that are in force.
  public internal(set) var inForce: [String] = []
  /// The kernels that ran before the process was replaced, or that run if it was not.
  var coreBefore: String
  /// The kernels that run.
  public internal(set) var core: String
  /// 10^9 operations a second of one thread, before and now; nil where it was not measured.
  var rateBefore: Double?
  var rate: Double?
  /// Why what was found did not stand, or, where `isKept`, should not.
  var objections: [BLASChoice.Objection] = []
  /// Whether the user wants the environment as it is.
  var isKept = false
  /// The library, such as `OpenBLAS 0.3.21`.
  var library = BLASLibrary.nameAndVersion

  /// Objections to what costs speed. A name that the library does not know costs nothing where it runs the
  /// best kernels all the same.
  private var costs: [BLASChoice.Objection] {
    objections.filter { if case .unknownKernels = $0 { false } else { true } }
  }

  /// Whether the user keeps what makes the library slower than it has to be.
  public var keepsLesser: Bool { isKept && !costs.isEmpty }

  /// What is set, in force and to blame for that: a name that the library does not know forces nothing.
  var forced: [String] {
    guard keepsLesser else { return [] }
    return inForce.filter { setting in
      !objections.contains {
        if case .unknownKernels(let name) = $0 {
          setting == "\(BLASSettings.coreType)=\(name)"
        } else {
          false
        }
      }
    }
  }

  /// The option that keeps the environment as it is.
  public static let keepFlag = "--keep-blas-env"

  /// Settings that were found and do not hold.
  public var removed: [String] { found.filter { !inForce.contains($0) } }

  /// How a process that has replaced itself tells what it did: its own process number (which survives
  /// the replacement; a child's would differ), the rest as JSON.
  private static let marker = "ATTNBENCH_BLAS_ENVIRONMENT"

  private struct Story: Codable {
    var process: Int32
    var found: [String]
    var core: String
    var rateBefore: Double?
    var rate: Double?
  }

  /// Replaces the process if need be, and otherwise tells what is in force and why. Call it before
  /// anything is read or written.
  ///
  /// - Parameter keep: leave the environment as it is.
  /// - Throws: `BLASEnvironmentError` where the kernels in force cannot run on this processor and
  ///   are to be kept, or no others can be had.
  public static func prepare(keep: Bool) throws(BLASEnvironmentError) -> BLASEnvironment {
    answerIfOnTrial()
    let environment = ProcessInfo.processInfo.environment
    let story = environment[marker].flatMap {
      try? JSONDecoder().decode(Story.self, from: Data($0.utf8))
    }
    // Children must not take the marker for their own.
    unsetenv(marker)
    var now = BLASEnvironment(coreBefore: BLASLibrary.core, core: BLASLibrary.core)
    now.inForce = BLASSettings.inForce(environment: environment)
    if let story, story.process == getpid() {
      now.found = story.found
      now.coreBefore = story.core
      (now.rateBefore, now.rate) = (story.rateBefore, story.rate)
      now.objections = choice(core: story.core, settings: story.found).objections
      return now
    }
    now.found = now.inForce
    now.isKept = keep
    let choice = choice(core: now.core, settings: now.found)
    now.objections = choice.objections
    let isRunnable = BLASKernel.named(now.core)?.runs(on: choice.processor) ?? true
    if !keep, let (candidate, trial) = choice.chosen(trying: BLASTrial.run) {
      // What narrow kernels cost can be told only where they run.
      now.rateBefore =
        isRunnable && trial.core != now.core ? try? BLASSpeed.productRate() : nil
      replace(
        by: candidate,
        Story(
          process: getpid(), found: now.found, core: now.core, rateBefore: now.rateBefore,
          rate: trial.gflopPerSecond))
    }
    guard isRunnable else {
      throw BLASEnvironmentError(core: now.core, settings: now.found, isKept: keep)
    }
    return now
  }

  /// Answers, and ends the process, where `prepare` of another one started it to try kernels.
  public static func answerIfOnTrial() { BLASTrial.answerIfAsked() }

  private static func choice(core: String, settings: [String]) -> BLASChoice {
    let pairs = settings.map { setting in
      let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (String(parts[0]), String(parts[1]))
    }
    return BLASChoice(
      processor: .current(), core: core, settings: Dictionary(pairs) { $1 },
      choosesKernels: BLASLibrary.choosesKernels,
      hasOpenMPThreads: BLASLibrary.usesOpenMP
        && ProcessInfo.processInfo.environment["OMP_NUM_THREADS"] != "1")
  }

  /// Returns only where the system refuses: there is no `/proc`, or no memory. The environment is then
  /// as it was.
  private static func replace(by candidate: BLASChoice.Candidate, _ story: Story) {
    guard let story = try? JSONEncoder().encode(story) else { return }
    let environment = candidate.applied(to: ProcessInfo.processInfo.environment)
      .merging([marker: String(decoding: story, as: UTF8.self)]) { $1 }
    var entries = environment.map { strdup("\($0)=\($1)") } + [nil]
    execve("/proc/self/exe", CommandLine.unsafeArgv, &entries)
    entries.forEach { free($0) }
  }
}

/// OpenBLAS would run instructions that the processor does not have.
public struct BLASEnvironmentError: Error, Hashable, CustomStringConvertible {
  let core: String
  let settings: [String]
  let isKept: Bool

  /// The kernels, what asks for them and the way out.
  public var description: String {
    let reason = settings.isEmpty ? "" : " (\(settings.joined(separator: ", ")))"
    let fix =
      isKept
      ? "leave out \(BLASEnvironment.keepFlag)"
      : "unset \(BLASSettings.variables.joined(separator: " ")), or install another OpenBLAS"
    return "OpenBLAS runs its \(core) kernels\(reason), whose instructions this processor lacks; "
      + fix
  }
}
