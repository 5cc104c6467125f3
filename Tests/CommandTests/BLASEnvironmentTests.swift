import AttentionBench
import Foundation
import MachineTopology
import Testing

/// OpenBLAS reads its environment before `main`: the command replaces itself where better kernels are
/// to be had than those it was started with.
@Suite("OpenBLAS's environment")
struct BLASEnvironmentTests {
  private static let processor = ProcessorFeatures.current()
  /// Where the kernels of a Prescott are not the best.
  private static let hasVectors = BLASKernel.candidates(for: processor).count > 0
  private static let hasAVX512 = BLASKernel.named("SkylakeX")?.runs(on: processor) ?? false

  @Test(
    "lesser, unknown and unrunnable kernels are not taken, and that is said once",
    .enabled(if: hasVectors), arguments: ["Prescott", "Nonsense", "", "SkylakeX"])
  func notTaken(coreType: String) throws {
    let plain = try AttnbenchProcess.run(["topo"])
    let best = try #require(kernels(plain))
    let forced = try AttnbenchProcess.run(
      ["topo"], environment: ["OPENBLAS_CORETYPE": coreType])
    #expect(forced.code == 0, "\(forced.error)")
    if coreType == "SkylakeX", Self.hasAVX512 {
      #expect(kernels(forced) == "SkylakeX")
      return
    }
    #expect(kernels(forced) == best)
    #expect(forced.errorLines.count == 1)
    #expect(
      forced.error.hasPrefix(
        "note: OPENBLAS_CORETYPE=\(coreType) not taken, OpenBLAS "), "\(forced.error)")
    #expect(forced.error.contains(" runs its \(best) kernels: "))
    #expect(forced.error.contains("--keep-blas-env"))
    #expect(forced.output.contains("the environment exports OPENBLAS_CORETYPE=\(coreType)"))

    // Measured, recorded and named.
    let result = try AttnbenchProcess.run(
      ["verify", "--n", "65", "--strategy", "full"], environment: ["OPENBLAS_CORETYPE": coreType])
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error.hasPrefix("note: OPENBLAS_CORETYPE=\(coreType) not taken"))
  }

  @Test(
    "a name that the library does not know is not said to force anything",
    arguments: ["Nonsense", ""])
  func unknown(coreType: String) throws {
    let environment = ["OPENBLAS_CORETYPE": coreType]
    let kept = try AttnbenchProcess.run(["topo", "--keep-blas-env"], environment: environment)
    #expect(kept.code == 0, "\(kept.error)")
    #expect(!kept.output.contains("the environment forces OpenBLAS"), "\(kept.output)")
    #expect(!kept.output.contains("half its speed"), "\(kept.output)")
    let taken = try AttnbenchProcess.run(["topo"], environment: environment)
    // Whatever ran before: nothing is put in place of itself.
    #expect(
      !taken.output.contains(/([A-Za-z0-9_]+) set by attnbench in place of \1/), "\(taken.output)")
    for result in [kept, taken] {
      #expect(!result.error.contains("named ''"), "\(result.error)")
      let reason = coreType.isEmpty ? "is set and empty" : "it has no kernels named 'Nonsense'"
      #expect(result.error.contains(reason), "\(result.error)")
    }
    // A fix that the flag itself stands in the way of is none.
    for result in [kept, try AttnbenchProcess.run(["topo", "--keep-blas-env"])] {
      let slow = result.outputLines.first { $0.contains("OpenBLAS reaches") }
      if let slow, result.error.contains("without --keep-blas-env") {
        #expect(slow.contains("Fix: leave out --keep-blas-env"), "\(slow)")
      }
    }
  }

  @Test("the record of a sweep puts no kernels in place of themselves", .enabled(if: hasVectors))
  func recordedUnknown() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      ["sweep", "--n", "16", "--strategy", "flash", "--threads", "1", "--rel-ci", "90%"]
        + ["-o", directory.path("out")],
      environment: ["OPENBLAS_CORETYPE": "Nonsense", "PATH": "/nowhere"])
    #expect(result.code == 0, "\(result.error)")
    let note = try #require(
      try RunDirectory.readMetadata(in: directory.path("out")).blas.environmentNote)
    #expect(note.hasPrefix("OPENBLAS_CORETYPE=Nonsense not taken"), "\(note)")
    #expect(!note.contains(/([A-Za-z0-9_]+) set by attnbench in place of \1/), "\(note)")
  }

  @Test("what costs is said in numbers", .enabled(if: hasVectors))
  func cost() throws {
    let result = try AttnbenchProcess.run(
      ["topo"], environment: ["OPENBLAS_CORETYPE": "Prescott"])
    let pattern = /Prescott kernels .* reach [0-9.]+ GFLOP\/s a thread, [A-Za-z]+ [0-9.]+/
    #expect(result.error.contains(pattern), "\(result.error)")
  }

  @Test("a choice that is as good as any is honoured without a word", .enabled(if: hasVectors))
  func honoured() throws {
    let best = try #require(kernels(try AttnbenchProcess.run(["topo"])))
    for name in Set([best, BLASKernel.candidates(for: Self.processor)[0].name]) {
      let result = try AttnbenchProcess.run(["topo"], environment: ["OPENBLAS_CORETYPE": name])
      #expect(result.code == 0)
      if kernels(result) == name {
        #expect(result.error.isEmpty, "\(result.error)")
        #expect(result.output.contains("OPENBLAS_CORETYPE=\(name) in force"))
      } else {
        // The library is older than these kernels.
        #expect(result.error.contains("it has no kernels named '\(name)'"))
      }
    }
  }

  @Test("block sizes of somebody's shell are not taken, the kernels asked for stay")
  func blockSizes() throws {
    let best = try #require(kernels(try AttnbenchProcess.run(["topo"])))
    let result = try AttnbenchProcess.run(
      ["topo"], environment: ["OPENBLAS_CORETYPE": best, "OPENBLAS_L2_SIZE": "1"])
    #expect(kernels(result) == best)
    #expect(result.error.hasPrefix("note: OPENBLAS_L2_SIZE=1 not taken"), "\(result.error)")
    #expect(result.output.contains("OPENBLAS_CORETYPE=\(best) in force"))
  }

  @Test("is kept where that is asked for, and warned about")
  func kept() throws {
    let sizes = try AttnbenchProcess.run(
      ["topo", "--keep-blas-env"], environment: ["OPENBLAS_L2_SIZE": "512"])
    #expect(sizes.code == 0)
    #expect(sizes.error.hasPrefix("warning: OPENBLAS_L2_SIZE=512 in force"))
    #expect(sizes.output.contains("the environment forces OpenBLAS"))
  }

  @Test(
    "kernels that cannot run are an error where they are to be kept, not a crash",
    .enabled(if: hasVectors && !hasAVX512))
  func unrunnable() throws {
    let result = try AttnbenchProcess.run(
      ["verify", "--n", "65", "--strategy", "full", "--keep-blas-env"],
      environment: ["OPENBLAS_CORETYPE": "SkylakeX"])
    #expect(result.code == 1)
    #expect(result.error.contains("SkylakeX kernels (OPENBLAS_CORETYPE=SkylakeX), whose"))
    #expect(result.error.contains("leave out --keep-blas-env"))
  }

  @Test("threads of the environment are not taken by a worker")
  func threads() throws {
    let result = try AttnbenchProcess.run(
      ["topo"], environment: ["OPENBLAS_NUM_THREADS": "8", "OMP_NUM_THREADS": "8"])
    #expect(result.outputLines.contains { $0.hasPrefix("BLAS") && $0.contains("1 thread a call") })
  }

  @Test("a sweep records kernels, environment and share of the peak")
  func recorded() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      ["sweep", "--n", "64", "--strategy", "full,flash", "--threads", "1", "--rel-ci", "90%"]
        + ["-o", directory.path("out")],
      environment: ["OPENBLAS_L2_SIZE": "512"])
    #expect(result.code == 0, "\(result.error)")
    let blas = try RunDirectory.readMetadata(in: directory.path("out")).blas
    #expect(blas.environmentNote?.hasPrefix("OPENBLAS_L2_SIZE=512 not taken") == true)
    #expect(blas.environment?.contains("OPENBLAS_L2_SIZE=512") == false)
    #expect(blas.threads == 1)
    #expect(try #require(blas.percentOfPeak) > 0 && #require(blas.gflopPerSecond) > 0)
    for row in try RunDirectory.readResults(in: directory.path("out")).rows {
      #expect((row.work.blasPercentOfPeak != nil) == (row.strategy.name == "full"))
    }
  }

  @Test("is no matter for commands that have nothing to do with it")
  func silent() throws {
    let mask = ["mask", "--strategy", "flash", "-n", "4"]
    for arguments in [["list"], ["--help"], ["--version"], mask] {
      let result = try AttnbenchProcess.run(
        arguments, environment: ["OPENBLAS_CORETYPE": "Prescott"])
      #expect(result.code == 0)
      #expect(result.error.isEmpty)
    }
  }

  @Test("without such variables nothing is said of them")
  func nothingToSay() throws {
    let result = try AttnbenchProcess.run(["run", "--help"])
    #expect(result.code == 0)
    #expect(result.error.isEmpty)
    let topo = try AttnbenchProcess.run(["topo"])
    #expect(!topo.error.contains("OPENBLAS_"))
  }

  @Test("a stale marker from another process hides nothing", .enabled(if: hasVectors))
  func staleMarker() throws {
    for marker in ["1\nX=y", #"{"process":1,"found":[],"core":"Zen"}"#] {
      let result = try AttnbenchProcess.run(
        ["topo"],
        environment: [
          "OPENBLAS_CORETYPE": "Prescott", "ATTNBENCH_BLAS_ENVIRONMENT": marker,
          "ATTNBENCH_BLAS_TRIAL": "1",
        ])
      #expect(result.error.hasPrefix("note: OPENBLAS_CORETYPE=Prescott not taken"))
    }
  }

  /// What a trial of kernels answers: this process is its parent.
  @Test("a trial names its kernels, checks and measures them")
  func trial() throws {
    func trial(_ environment: [String: String]) throws -> AttnbenchProcess.Result {
      try AttnbenchProcess.run(
        ["topo"],
        environment: environment.merging(["ATTNBENCH_BLAS_TRIAL": "\(getpid())"]) { $1 })
    }
    let plain = try trial([:])
    #expect(plain.code == 0 && plain.error.isEmpty)
    #expect(plain.output.contains(/^[A-Za-z0-9_]+ true [0-9.]+\n$/), "\(plain.output)")
    if Self.hasVectors, !Self.hasAVX512 {
      #expect(try trial(["OPENBLAS_CORETYPE": "SkylakeX"]).code != 0)
    }
  }

  /// `Zen` of `OpenBLAS 0.3.21, Zen kernels, ...`.
  private func kernels(_ result: AttnbenchProcess.Result) -> String? {
    let line = result.outputLines.first { $0.hasPrefix("BLAS") }
    return line?.firstMatch(of: /, ([A-Za-z0-9_]+) kernels/).map { String($0.1) }
  }
}
