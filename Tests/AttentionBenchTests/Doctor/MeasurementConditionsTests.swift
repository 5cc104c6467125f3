import Attention
import AttentionBench
import Testing

@Suite("Warnings about a machine")
struct MeasurementConditionsTests {
  /// A quiet machine of 4 cores.
  private static func quiet() -> MeasurementConditions {
    var conditions = MeasurementConditions()
    conditions.blasCore = "SkylakeX"
    (conditions.isa, conditions.bestISA) = ("avx512", "avx512")
    (conditions.allowedCores, conditions.allowedPUs) = (4, 4)
    (conditions.loadAverage, conditions.stealFraction) = (0.1, 0.001)
    conditions.governors = ["performance"]
    return conditions
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let change: @Sendable (inout MeasurementConditions) -> Void
    let finding: String
    let fix: String

    var testDescription: String { name }
  }

  static let cases = [
    Case(
      name: "forced BLAS",
      change: { $0.blasForced = ["OPENBLAS_CORETYPE=Haswell"] },
      finding: "the environment forces OpenBLAS to its SkylakeX kernels "
        + "(OPENBLAS_CORETYPE=Haswell)",
      fix: "unset OPENBLAS_CORETYPE, or leave out --keep-blas-env"),
    Case(
      name: "ignored BLAS settings",
      change: { $0.blasIgnored = ["OPENBLAS_CORETYPE=Haswell", "OPENBLAS_L2_SIZE=512"] },
      finding: "the environment exports OPENBLAS_CORETYPE=Haswell, OPENBLAS_L2_SIZE=512",
      fix: "unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE"),
    Case(
      name: "slow BLAS",
      change: {
        $0.blasSpeed = BLASSpeed(core: "Prescott", gflopPerSecond: 26, peakGflopPerSecond: 175)
      },
      finding: "OpenBLAS reaches 14.9% of the FMA peak with its Prescott kernels (26.0 of 175 "
        + "GFLOP/s a thread)",
      fix: "measure again when the machine is quiet; if it stays so, install a newer OpenBLAS"),
    Case(
      name: "slow BLAS that is kept",
      change: {
        $0.blasSpeed = BLASSpeed(core: "Prescott", gflopPerSecond: 26, peakGflopPerSecond: 175)
        $0.blasIsKeptSlow = true
      },
      finding: "OpenBLAS reaches 14.9% of the FMA peak with its Prescott kernels (26.0 of 175 "
        + "GFLOP/s a thread)",
      fix: "leave out --keep-blas-env"),
    Case(
      name: "quota", change: { $0.cpuQuota = 2.5 },
      finding: "the control group grants 2.5 CPUs and 4 may be used",
      fix: "--threads 2, or lift the quota (docker --cpus, systemd CPUQuota)"),
    Case(
      name: "quota below one", change: { $0.cpuQuota = 0.5 },
      finding: "the control group grants 0.5 CPUs and 4 may be used",
      fix: "--threads 1, or lift the quota (docker --cpus, systemd CPUQuota)"),
    Case(
      name: "steal", change: { $0.stealFraction = 0.034 },
      finding: "the hypervisor gives 3.4% of the time to others",
      fix: "measure when the host is quiet, or with more --min-samples"),
    Case(
      name: "load", change: { $0.loadAverage = 1.25 },
      finding: "load average 1.2 on 4 cores",
      fix: "wait for it to end, or --bind to cores that it leaves free"),
    Case(
      name: "forced kernels", change: { $0.isa = "avx2" },
      finding: "ATTNBENCH_ISA=avx2 is set and the processor runs avx512",
      fix: "unset ATTNBENCH_ISA"),
    Case(
      name: "governor", change: { $0.governors = ["performance", "powersave"] },
      finding: "the frequency governor is powersave", fix: "cpupower frequency-set -g performance"),
    Case(
      name: "threads of BLAS", change: { $0.blasThreads = 4 },
      finding: "OpenBLAS keeps 4 threads a call although 1 was asked for",
      fix: "OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 attnbench ..."),
    Case(
      name: "hardware threads", change: { $0.allowedPUs = 8 },
      finding: "4 cores have 8 hardware threads", fix: "at most --threads 4, bound to cores"),
  ]

  @Test("each condition gives its warning and no other", arguments: cases)
  func warning(_ expected: Case) {
    var conditions = Self.quiet()
    expected.change(&conditions)
    let warnings = conditions.warnings
    #expect(warnings.map(\.finding) == [expected.finding])
    #expect(warnings.first?.fix == expected.fix)
    #expect(warnings.first?.effect.isEmpty == false)
    #expect(warnings.first?.description.contains(". Fix: \(expected.fix)") == true)
  }

  @Test("a quiet machine gives none, nor one that tells nothing")
  func none() {
    #expect(Self.quiet().warnings.isEmpty)
    var silent = Self.quiet()
    (silent.loadAverage, silent.stealFraction, silent.governors) = (nil, nil, [])
    #expect(silent.warnings.isEmpty)
  }

  @Test("a quota that covers every CPU is none")
  func ampleQuota() {
    var conditions = Self.quiet()
    conditions.cpuQuota = 4
    #expect(conditions.warnings.isEmpty)
  }
}

@Suite("OpenBLAS's forcing variables")
struct BLASSettingsTests {
  @Test("are found in the environment, others are not")
  func inForce() {
    let environment = [
      "OPENBLAS_L2_SIZE": "512", "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1",
      "PATH": "/bin",
    ]
    #expect(
      BLASSettings.inForce(environment: environment)
        == ["OPENBLAS_CORETYPE=Haswell", "OPENBLAS_L2_SIZE=512"])
    #expect(BLASSettings.inForce(environment: ["PATH": "/bin"]).isEmpty)
  }
}
