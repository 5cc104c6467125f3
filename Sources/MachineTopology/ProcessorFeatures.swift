import Glibc
import SystemPackage

/// What a processor says it is and can do, in the words of `/proc/cpuinfo`.
///
/// The kernel leaves out what it does not let programs use, such as vectors whose registers it does
/// not save, so that a feature named here can be run.
public struct ProcessorFeatures: Hashable, Sendable {
  /// `GenuineIntel`, `AuthenticAMD`; nil where the system does not say, as on Arm.
  public let vendor: String?
  /// `avx2`, `fma`, `avx512f`, `asimd`, ...
  public let flags: Set<String>

  /// A processor as described.
  public init(vendor: String?, flags: Set<String>) {
    self.vendor = vendor
    self.flags = flags
  }

  /// Reads the first processor of a text in the form of `/proc/cpuinfo`.
  public init(cpuinfo text: String) {
    var fields: [Substring: Substring] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      let name = parts[0].prefix { !$0.isWhitespace }
      if parts.count == 2, fields[name] == nil { fields[name] = parts[1] }
    }
    vendor = fields["vendor_id"].flatMap { $0.split(whereSeparator: \.isWhitespace).first }
      .map(String.init)
    flags = Set(
      (fields["flags"] ?? fields["Features"] ?? "").split(whereSeparator: \.isWhitespace)
        .map(String.init))
  }

  /// The processor that this process runs on; one without features where the system does not say.
  ///
  /// Reads the first entry only: a large machine takes long to write out all of them.
  public static func current(files: SystemFiles = .system) -> ProcessorFeatures {
    ProcessorFeatures(cpuinfo: files.beginning(of: "/proc/cpuinfo", byteCount: 16_384) ?? "")
  }
}
