import CHwloc

/// How much memory this process holds, in bytes.
public struct ProcessMemory: Hashable, Sendable {
  /// Resident now (`VmRSS`).
  public let residentBytes: Int
  /// The most that was resident since the process started, or since ``resetPeak(files:)``
  /// (`VmHWM`).
  public let peakResidentBytes: Int

  /// Reads the present figures.
  ///
  /// The kernel counts pages per thread and adds them up now and then, so the figures can be off by
  /// some hundred KiB a thread.
  ///
  /// - Returns: nil where `/proc/self/status` cannot be read, as outside Linux.
  public static func current(files: SystemFiles = .system) -> ProcessMemory? {
    guard let resident = files.number(after: "VmRSS:", in: "/proc/self/status"),
      let peak = files.number(after: "VmHWM:", in: "/proc/self/status")
    else { return nil }
    return ProcessMemory(residentBytes: resident * 1024, peakResidentBytes: peak * 1024)
  }

  /// Lets the peak start again from what is resident now, after the allocator has given back what
  /// it holds free: memory that it reuses would make growth look smaller than it is.
  ///
  /// - Returns: whether the kernel took it; containers may mount `/proc` read-only.
  @discardableResult
  public static func resetPeak(files: SystemFiles = .system) -> Bool {
    attn_trim_heap()
    return files.write("5", to: "/proc/self/clear_refs")
  }
}
