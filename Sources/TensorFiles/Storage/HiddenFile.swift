import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The files that a transaction keeps beside its targets while it is under way.
enum HiddenFile {
  /// A name that nobody has: `.o.npy.3k9f.partial` beside `o.npy`.
  static func name(beside target: FilePath, _ ending: String) -> FilePath {
    let random = String(UInt64.random(in: .min ... .max), radix: 36)
    return target.removingLastComponent().appending("\(stem(target)).\(random).\(ending)")
  }

  /// Removes those that a killed process has left beside `target`.
  static func removeAll(beside target: FilePath) {
    let parent = target.removingLastComponent()
    let directory = parent.isEmpty ? "." : parent
    guard let stream = directory.withPlatformString({ opendir($0) }) else { return }
    defer { closedir(stream) }
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard name.hasPrefix(stem(target) + "."),
        name.hasSuffix(".partial") || name.hasSuffix(".old")
      else { continue }
      _ = directory.appending(name).withPlatformString { unlink($0) }
    }
  }

  /// A name has at most 255 bytes.
  private static func stem(_ target: FilePath) -> String {
    "." + String(decoding: (target.lastComponent?.string ?? "").utf8.prefix(100), as: UTF8.self)
  }
}
