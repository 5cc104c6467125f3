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
  /// What they are for.
  enum Ending: String, CaseIterable {
    /// New content that is not complete.
    case partial
    /// What stood at the target.
    case old
  }

  private static let radix = 36
  /// As many as the largest random number has.
  private static let digits = 13

  /// A name that nobody has: `.o.npy.attnbench-03k9f0c5zq2m1.partial` beside `o.npy`.
  static func name(beside target: FilePath, _ ending: Ending) -> FilePath {
    let random = String(UInt64.random(in: .min ... .max), radix: radix)
    let padded = String(repeating: "0", count: digits - random.count) + random
    return target.removingLastComponent()
      .appending("\(start(target))\(padded).\(ending.rawValue)")
  }

  /// Whether `name` makes such names beside `target`: somebody's own `.o.npy.mine.old` is none.
  static func isName(_ name: String, beside target: FilePath) -> Bool {
    let start = start(target)
    guard name.hasPrefix(start) else { return false }
    let parts = name.dropFirst(start.count).split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 2 && parts[0].count == digits && parts[0].allSatisfy(isDigit)
      && Ending(rawValue: String(parts[1])) != nil
  }

  private static func isDigit(_ character: Character) -> Bool {
    ("0"..."9").contains(character) || ("a"..."z").contains(character)
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
      guard isName(name, beside: target) else { continue }
      _ = directory.appending(name).withPlatformString { unlink($0) }
    }
  }

  /// What tells these names from anybody's own. A name has at most 255 bytes.
  private static func start(_ target: FilePath) -> String {
    let stem = String(
      decoding: (target.lastComponent?.string ?? "").utf8.prefix(100), as: UTF8.self)
    return ".\(stem).attnbench-"
  }
}
