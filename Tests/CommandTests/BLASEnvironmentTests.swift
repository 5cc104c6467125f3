import Testing

/// OpenBLAS reads its environment before `main`: the command replaces itself without it.
@Suite("OpenBLAS's environment")
struct BLASEnvironmentTests {
  private static let forced = ["OPENBLAS_CORETYPE": "Haswell"]

  @Test("is ignored, and said to be, by commands that measure or report")
  func ignored() throws {
    let result = try AttnbenchProcess.run(
      ["verify", "--n", "8", "--strategy", "exact"], environment: Self.forced)
    #expect(result.code == 0)
    #expect(result.errorLines.count == 1, "\(result.error)")
    #expect(
      result.error.hasPrefix("note: OPENBLAS_CORETYPE=Haswell ignored, OpenBLAS runs its "))
    #expect(result.error.contains("--keep-blas-env"))

    let plain = try AttnbenchProcess.run(["topo"])
    let freed = try AttnbenchProcess.run(["topo"], environment: Self.forced)
    #expect(blasLine(plain) != nil)
    #expect(blasLine(plain) == blasLine(freed))
    #expect(freed.output.contains("the environment exports OPENBLAS_CORETYPE=Haswell"))
  }

  @Test("is kept where that is asked for, and warned about")
  func kept() throws {
    let result = try AttnbenchProcess.run(
      ["topo", "--keep-blas-env"], environment: ["OPENBLAS_L2_SIZE": "512"])
    #expect(result.code == 0)
    #expect(result.error.hasPrefix("warning: OPENBLAS_L2_SIZE=512 in force"))
    #expect(result.output.contains("the environment forces OpenBLAS"))
  }

  @Test("is no matter for commands that have nothing to do with it")
  func silent() throws {
    let mask = ["mask", "--strategy", "flash", "-n", "4"]
    for arguments in [["list"], ["--help"], ["--version"], mask] {
      let result = try AttnbenchProcess.run(arguments, environment: Self.forced)
      #expect(result.code == 0)
      #expect(result.error.isEmpty)
    }
  }

  @Test("without such variables nothing is said")
  func nothingToSay() throws {
    let result = try AttnbenchProcess.run(["verify", "--n", "8", "--strategy", "flash"])
    #expect(result.code == 0)
    #expect(result.error.isEmpty)
  }

  @Test("a stale marker from another process does not hide forced kernels")
  func staleMarker() throws {
    let result = try AttnbenchProcess.run(
      ["topo"],
      environment: Self.forced.merging(["ATTNBENCH_BLAS_ENVIRONMENT": "1\nX=y"]) { old, _ in old })
    #expect(result.error.hasPrefix("note: OPENBLAS_CORETYPE=Haswell ignored"))
  }

  private func blasLine(_ result: AttnbenchProcess.Result) -> String? {
    result.outputLines.first { $0.hasPrefix("BLAS") }
  }
}
