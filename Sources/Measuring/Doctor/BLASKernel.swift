import MachineTopology
import Records
import Statistics
import Units

/// Kernels of OpenBLAS for x86-64, by the name of the processor they were written for.
public struct BLASKernel: Hashable, Sendable {
  /// As `OPENBLAS_CORETYPE` takes it and the library gives it back.
  public let name: String
  /// The features that its instructions need, in the words of `/proc/cpuinfo`.
  public let needs: Set<String>
  /// fp32 multiply-adds that an instruction of it does at once; half the lanes of a vector where
  /// multiplying and adding are two instructions.
  public let width: Int

  private static let avx512: Set = ["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"]

  /// What is known, the widest first. Kernels that are not listed belong to processors that only
  /// newer libraries know: those chose them knowing the processor.
  static let all: [BLASKernel] =
    [
      BLASKernel(name: "SapphireRapids", needs: avx512.union(["avx512_bf16"]), width: 16),
      BLASKernel(name: "Cooperlake", needs: avx512.union(["avx512_bf16"]), width: 16),
      BLASKernel(name: "SkylakeX", needs: avx512, width: 16),
      BLASKernel(name: "Haswell", needs: ["avx2", "fma"], width: 8),
      BLASKernel(name: "Zen", needs: ["avx2", "fma"], width: 8),
      BLASKernel(name: "Excavator", needs: ["avx", "fma", "fma4"], width: 4),
      BLASKernel(name: "Steamroller", needs: ["avx", "fma", "fma4"], width: 4),
      BLASKernel(name: "Piledriver", needs: ["avx", "fma", "fma4"], width: 4),
      BLASKernel(name: "Bulldozer", needs: ["avx", "fma4"], width: 4),
      BLASKernel(name: "Sandybridge", needs: ["avx"], width: 4),
    ]
    + [
      "Nehalem", "Dunnington", "Penryn", "Core2", "Prescott", "Barcelona", "Bobcat", "Opteron",
      "Opteron_SSE3", "Athlon", "Atom", "Nano", "Katmai", "Coppermine", "Northwood", "Banias",
    ].map { BLASKernel(name: $0, needs: [], width: 2) }

  /// The kernels of a name, in whatever case; nil for those that are not known.
  public static func named(_ name: String) -> BLASKernel? {
    all.first { $0.name.lowercased() == name.lowercased() }
  }

  /// Kernels worth a try on a processor, the best first; none where nothing is known of its kind.
  ///
  /// On equal vectors those of the maker's own processors come first. The kernels of Sapphire Rapids
  /// are left out: they multiply fp32 as Cooperlake's do, and count on matrix units that virtual
  /// machines hide.
  public static func candidates(for processor: ProcessorFeatures) -> [BLASKernel] {
    let isAMD = ["AuthenticAMD", "HygonGenuine"].contains(processor.vendor)
    return ["Cooperlake", "SkylakeX", isAMD ? "Zen" : "Haswell", "Sandybridge"]
      .compactMap(named).filter { $0.runs(on: processor) }
  }

  /// Whether a processor has every instruction.
  public func runs(on processor: ProcessorFeatures) -> Bool { needs.isSubset(of: processor.flags) }
}
