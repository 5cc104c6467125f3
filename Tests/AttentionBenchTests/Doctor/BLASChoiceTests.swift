import AttentionBench
import MachineTopology
import Testing

/// OpenBLAS as it would behave on some processor: which kernels it has, and which it takes unasked.
private struct MadeLibrary {
  var kernels = ["Prescott", "Sandybridge", "Haswell", "Zen", "SkylakeX"]
  var own: String
  /// What it falls back to when asked for kernels that it does not have.
  var fallback = "Prescott"
  /// Kernels that multiply wrongly.
  var wrong: Set<String> = []

  func core(for coreType: String?) -> String {
    guard let coreType else { return own }
    return kernels.first { $0.lowercased() == coreType.lowercased() } ?? fallback
  }
}

private struct MadeMachine {
  var processor: ProcessorFeatures
  var library: MadeLibrary

  func choice(_ settings: [String: String], choosesKernels: Bool = true) -> BLASChoice {
    BLASChoice(
      processor: processor,
      core: library.core(for: choosesKernels ? settings["OPENBLAS_CORETYPE"] : nil),
      settings: settings, choosesKernels: choosesKernels)
  }

  /// The kernels that run after all; nil where the process would crash.
  func outcome(_ settings: [String: String] = [:]) -> String? {
    let choice = choice(settings)
    let chosen = choice.chosen { candidate in
      let core = library.core(for: candidate.coreType)
      guard BLASKernel.named(core)?.runs(on: processor) ?? true else { return nil }
      return BLASChoice.Trial(
        core: core, isRight: !library.wrong.contains(core), gflopPerSecond: 50)
    }
    let core = chosen?.1.core ?? choice.core
    return BLASKernel.named(core)?.runs(on: processor) ?? true ? core : nil
  }
}

private let sse: Set = ["sse", "sse2", "pni", "ssse3"]
private let avx2 = sse.union(["avx", "avx2", "fma"])
private let avx512 = avx2.union(["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"])

extension MadeMachine {
  /// OpenBLAS 0.3.21 does not know it.
  static let emeraldRapids = MadeMachine(
    processor: ProcessorFeatures(vendor: "GenuineIntel", flags: avx512.union(["avx512_bf16"])),
    library: MadeLibrary(own: "Prescott"))
  static let skylake = MadeMachine(
    processor: ProcessorFeatures(vendor: "GenuineIntel", flags: avx512),
    library: MadeLibrary(own: "SkylakeX"))
  /// A successor of Zen 5 that the library takes for nothing.
  static let futureAMD = MadeMachine(
    processor: ProcessorFeatures(
      vendor: "AuthenticAMD", flags: avx512.union(["avx512_bf16", "avx1024"])),
    library: MadeLibrary(
      kernels: ["Prescott", "Haswell", "Zen", "SkylakeX", "Cooperlake"], own: "Prescott"))
  static let zen3 = MadeMachine(
    processor: ProcessorFeatures(vendor: "AuthenticAMD", flags: avx2),
    library: MadeLibrary(own: "Zen", fallback: "Haswell"))
  /// An AMD of the AVX2 kind without a name.
  static let unknownAVX2 = MadeMachine(
    processor: ProcessorFeatures(vendor: "HygonGenuine", flags: avx2),
    library: MadeLibrary(own: "Prescott"))
  static let avxOnly = MadeMachine(
    processor: ProcessorFeatures(vendor: "GenuineIntel", flags: sse.union(["avx"])),
    library: MadeLibrary(own: "Prescott"))
  static let noAVX = MadeMachine(
    processor: ProcessorFeatures(vendor: "GenuineIntel", flags: sse),
    library: MadeLibrary(own: "Nehalem"))
  static let arm = MadeMachine(
    processor: ProcessorFeatures(vendor: nil, flags: ["fp", "asimd"]),
    library: MadeLibrary(kernels: ["ARMV8", "NEOVERSEN1"], own: "ARMV8", fallback: "ARMV8"))
}

@Suite("The choice of OpenBLAS's kernels")
struct BLASChoiceTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    fileprivate let machine: MadeMachine
    let coreType: String?
    let runs: String

    var testDescription: String { "\(name), OPENBLAS_CORETYPE=\(coreType ?? "unset")" }
  }

  static let cases: [Case] = [
    Case(name: "Emerald Rapids", machine: .emeraldRapids, coreType: nil, runs: "SkylakeX"),
    Case(name: "Emerald Rapids", machine: .emeraldRapids, coreType: "skylakex", runs: "SkylakeX"),
    Case(name: "Emerald Rapids", machine: .emeraldRapids, coreType: "Haswell", runs: "SkylakeX"),
    Case(name: "Emerald Rapids", machine: .emeraldRapids, coreType: "Cooperlake", runs: "SkylakeX"),
    Case(name: "Emerald Rapids", machine: .emeraldRapids, coreType: "Nonsense", runs: "SkylakeX"),
    Case(name: "Emerald Rapids", machine: .emeraldRapids, coreType: "", runs: "SkylakeX"),
    Case(name: "Skylake", machine: .skylake, coreType: nil, runs: "SkylakeX"),
    Case(name: "Skylake", machine: .skylake, coreType: "Prescott", runs: "SkylakeX"),
    Case(name: "future AMD", machine: .futureAMD, coreType: nil, runs: "Cooperlake"),
    Case(name: "future AMD", machine: .futureAMD, coreType: "SkylakeX", runs: "SkylakeX"),
    Case(name: "future AMD", machine: .futureAMD, coreType: "Zen", runs: "Cooperlake"),
    Case(name: "Zen 3", machine: .zen3, coreType: nil, runs: "Zen"),
    Case(name: "Zen 3", machine: .zen3, coreType: "Haswell", runs: "Haswell"),
    Case(name: "Zen 3", machine: .zen3, coreType: "Prescott", runs: "Zen"),
    Case(name: "Zen 3", machine: .zen3, coreType: "SkylakeX", runs: "Zen"),
    Case(name: "Zen 3", machine: .zen3, coreType: "Nonsense", runs: "Zen"),
    Case(name: "AVX2, no name", machine: .unknownAVX2, coreType: nil, runs: "Zen"),
    Case(name: "AVX only", machine: .avxOnly, coreType: nil, runs: "Sandybridge"),
    Case(name: "AVX only", machine: .avxOnly, coreType: "Haswell", runs: "Sandybridge"),
    Case(name: "no AVX", machine: .noAVX, coreType: nil, runs: "Nehalem"),
    Case(name: "no AVX", machine: .noAVX, coreType: "SkylakeX", runs: "Nehalem"),
    Case(name: "Arm", machine: .arm, coreType: nil, runs: "ARMV8"),
    Case(name: "Arm", machine: .arm, coreType: "NEOVERSEN1", runs: "NEOVERSEN1"),
  ]

  @Test("is the widest kernels that the processor and the library have", arguments: cases)
  func widest(_ test: Case) {
    let settings = test.coreType.map { ["OPENBLAS_CORETYPE": $0] } ?? [:]
    #expect(test.machine.outcome(settings) == test.runs)
    // Block sizes of somebody's shell change nothing about it.
    let more = settings.merging(["OPENBLAS_L2_SIZE": "512"]) { $1 }
    #expect(test.machine.outcome(more) == test.runs)
  }

  @Test("leaves alone what is as good as it gets, without a trial")
  func good() {
    for (machine, settings) in [
      (MadeMachine.skylake, [:]), (.zen3, [:]), (.zen3, ["OPENBLAS_CORETYPE": "zen"]),
      (.zen3, ["OPENBLAS_CORETYPE": "Haswell"]), (.noAVX, [:]), (.arm, [:]),
      (.emeraldRapids, ["OPENBLAS_CORETYPE": "SkylakeX"]),
    ] {
      #expect(machine.choice(settings).objections.isEmpty)
      #expect(machine.choice(settings).candidates.isEmpty)
    }
  }

  @Test("keeps a good choice when block sizes go")
  func blockSizes() {
    let choice = MadeMachine.zen3.choice([
      "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "1",
    ])
    #expect(choice.objections == [.blockSizes(["OPENBLAS_L2_SIZE"])])
    #expect(choice.candidates.map(\.coreType) == ["Haswell"])
    let environment = choice.candidates[0].applied(to: [
      "OPENBLAS_L2_SIZE": "1", "OPENBLAS_BLOCK_FACTOR": "2", "PATH": "/bin",
      "OPENBLAS_NUM_THREADS": "4",
    ])
    #expect(
      environment
        == ["OPENBLAS_CORETYPE": "Haswell", "PATH": "/bin", "OPENBLAS_NUM_THREADS": "4"])
  }

  @Test("passes over kernels that multiply wrongly or crash")
  func wrong() {
    var machine = MadeMachine.futureAMD
    machine.library.wrong = ["Cooperlake"]
    #expect(machine.outcome() == "SkylakeX")
    machine.library.wrong = ["Cooperlake", "SkylakeX"]
    #expect(machine.outcome() == "Zen", "half the width beats an eighth")
    machine.library.wrong = ["Cooperlake", "SkylakeX", "Zen", "Haswell", "Sandybridge"]
    #expect(machine.outcome() == "Prescott")
    #expect(MadeMachine.emeraldRapids.choice([:]).chosen { _ in nil } == nil)
  }

  @Test("is not tried on a library that was built for one processor")
  func builtForOne() {
    let choice = MadeMachine.emeraldRapids.choice(
      ["OPENBLAS_CORETYPE": "SkylakeX"], choosesKernels: false)
    #expect(choice.objections == [.narrow])
    #expect(choice.candidates.isEmpty)
  }

  @Test("kernels that only newer libraries know are theirs to choose")
  func unknownKernels() {
    var machine = MadeMachine.emeraldRapids
    machine.library.own = "GraniteRapids"
    #expect(machine.choice([:]).objections.isEmpty)
    machine.library.own = "SapphireRapids"
    #expect(machine.choice([:]).objections.isEmpty)
  }

  @Test("keeps OpenMP to one thread")
  func openMP() {
    let choice = BLASChoice(
      processor: MadeMachine.zen3.processor, core: "Zen", settings: [:], hasOpenMPThreads: true)
    #expect(choice.objections == [.openMPThreads])
    let chosen = choice.chosen { _ in
      BLASChoice.Trial(core: "Zen", isRight: true, gflopPerSecond: 50)
    }
    #expect(chosen?.0.applied(to: ["OMP_NUM_THREADS": "8"]) == ["OMP_NUM_THREADS": "1"])
  }
}
