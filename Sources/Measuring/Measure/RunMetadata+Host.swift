import Attention
import Foundation
import MachineTopology
import Records
import Statistics
import Units

extension RunMetadata {
  /// Describes a run that begins now on this machine.
  ///
  /// - Parameters:
  ///   - argv: the command line as it was typed.
  ///   - options: the options as they were understood.
  ///   - blas: the matrix library, and what is known of it beyond its own words.
  public static func host(
    argv: [String], options: [String: String], seed: UInt64, topology: MachineTopology,
    blas: BLAS = .current()
  ) -> RunMetadata {
    let now = Date()
    return RunMetadata(
      runID: newRunID(at: now), argv: argv, options: options, seed: seed,
      toolVersion: AttnbenchVersion.current, build: .current, blas: blas,
      isaCompiled: KernelTable.compiled.map(\.name), isaChosen: KernelTable.active.name,
      machine: .host(topology), loadBefore: loadAverages, startedAt: now)
  }

  /// Load averages over 1, 5 and 15 minutes; nil where the system does not say.
  public static var loadAverages: [Double]? {
    MachineLoad.current().averages.map { [$0.oneMinute, $0.fiveMinutes, $0.fifteenMinutes] }
  }

  /// `20261120T225400Z-3f2a`: sorts by time, and two runs of one second differ.
  private static func newRunID(at date: Date) -> String {
    let style = Date.ISO8601FormatStyle(
      dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .gmt)
    return date.formatted(style) + "-" + String(format: "%04x", Int.random(in: 0..<0x10000))
  }
}

extension RunMetadata.BLAS {
  /// OpenBLAS as this process has loaded it.
  ///
  /// - Parameters:
  ///   - note: what became of the environment's settings.
  ///   - speed: what was measured.
  public static func current(note: String? = nil, speed: BLASSpeed? = nil) -> Self {
    var blas = Self(
      library: BLASLibrary.nameAndVersion, config: BLASLibrary.config, core: BLASLibrary.core,
      threads: BLASLibrary.threads, environmentNote: note)
    blas.environment = BLASSettings.all()
    blas.gflopPerSecond = speed?.gflopPerSecond
    blas.percentOfPeak = speed.map { 100 * $0.share }
    return blas
  }
}

extension RunMetadata.Build {
  /// This build. The commit is that of `ATTNBENCH_COMMIT`, or of the source tree around a program
  /// that still lies in its build directory; an installed program knows none.
  static var current: Self {
    let commit = SourceTree.commit
    return Self(
      commit: commit?.name, dirty: commit?.isDirty, compiler: compiler, compilerFlags: flags,
      program: try? FileFingerprint(of: "/proc/self/exe"))
  }

  private static var compiler: String {
    #if compiler(>=6.4)
      "Swift 6.4 or later"
    #elseif compiler(>=6.3)
      "Swift 6.3"
    #else
      "Swift 6.2"
    #endif
  }

  private static var flags: String {
    #if DEBUG
      "debug"
    #else
      "release (swiftc -O, clang -O2)"
    #endif
  }
}

/// The sources that the running program was built from.
private enum SourceTree {
  static var commit: (name: String, isDirty: Bool?)? {
    if let given = ProcessInfo.processInfo.environment["ATTNBENCH_COMMIT"], !given.isEmpty {
      return (given, nil)
    }
    let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path
    guard let build = program.range(of: "/.build/") else { return nil }
    let tree = String(program[..<build.lowerBound])
    guard let name = git(["-C", tree, "rev-parse", "HEAD"]) else { return nil }
    let changes = git(["-C", tree, "status", "--porcelain", "--untracked-files=no"])
    return (name, changes.map { !$0.isEmpty })
  }

  /// What git says; nil when there is none or it fails.
  private static func git(_ arguments: [String]) -> String? {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["git"] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    do {
      try process.run()
    } catch {
      return nil
    }
    let said = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { return nil }
    return String(decoding: said, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
