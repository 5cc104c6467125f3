import SystemPackage

/// The policy by which the kernel sets the clock frequency of a CPU.
public enum FrequencyGovernor {
  /// The governors of the given CPUs, e.g. `["performance"]`, sorted, each once; empty where the
  /// system does not say, as in most virtual machines.
  public static func current(cpus: CPUSet, files: SystemFiles = .system) -> [String] {
    let names = cpus.indices.compactMap { cpu -> String? in
      let path = FilePath("/sys/devices/system/cpu/cpu\(cpu)/cpufreq/scaling_governor")
      return files.words(of: path)?.first.map(String.init)
    }
    return Set(names).sorted()
  }
}
