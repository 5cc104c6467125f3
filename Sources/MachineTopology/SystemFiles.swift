import Glibc
import SystemPackage

/// The small text files in which Linux tells about itself, below a root directory.
///
/// The root is `/`, or a folder that mirrors `/proc` and `/sys` in tests.
public struct SystemFiles: Hashable, Sendable {
  private let root: FilePath

  /// The files of the running system.
  public static let system = SystemFiles(root: "/")

  /// The files below another root.
  public init(root: FilePath) {
    self.root = root
  }

  /// The file's whole text; nil if it cannot be read, since which of these files exist depends on
  /// the kernel and the container.
  func text(of path: FilePath) -> String? {
    guard let file = try? FileDescriptor.open(absolute(path), .readOnly) else { return nil }
    defer { try? file.close() }
    // Files in /proc and /sys have no size to ask for: read until the end.
    var bytes: [UInt8] = []
    do {
      while true {
        let chunk = try [UInt8](unsafeUninitializedCapacity: 16_384) { buffer, count in
          count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
        }
        guard !chunk.isEmpty else { break }
        bytes += chunk
      }
    } catch {
      return nil
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The file's text up to a number of bytes, or a little less; nil if it cannot be read.
  func beginning(of path: FilePath, byteCount: Int) -> String? {
    guard let file = try? FileDescriptor.open(absolute(path), .readOnly) else { return nil }
    defer { try? file.close() }
    let bytes = try? [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
      count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
    }
    return bytes.map { String(decoding: $0, as: UTF8.self) }
  }

  /// The words of a file; nil if it cannot be read.
  func words(of path: FilePath) -> [Substring]? {
    text(of: path)?.split(whereSeparator: \.isWhitespace)
  }

  /// The number that is all a file says; nil if it cannot be read or says something else.
  func number(in path: FilePath) -> Int? {
    guard let words = words(of: path), words.count == 1 else { return nil }
    return Int(words[0])
  }

  /// The number after a key at the start of a line, as in `MemTotal:  24684092 kB`.
  ///
  /// - Returns: nil if the file or the key is missing.
  func number(after key: String, in path: FilePath) -> Int? {
    guard let lines = text(of: path)?.split(separator: "\n") else { return nil }
    for line in lines {
      let words = line.split(whereSeparator: \.isWhitespace)
      if words.count >= 2, words[0] == key { return Int(words[1]) }
    }
    return nil
  }

  /// Writes a short text to a file that exists.
  ///
  /// - Returns: whether that worked.
  func write(_ text: String, to path: FilePath) -> Bool {
    guard let file = try? FileDescriptor.open(absolute(path), .writeOnly) else { return false }
    // The kernel may refuse only when it acts on the text, so closing counts as well.
    return (try? file.closeAfter { try file.writeAll(text.utf8) }) != nil
  }

  /// The names in a directory, in no order; none if it cannot be read.
  func names(in path: FilePath) -> [String] {
    guard let directory = opendir(absolute(path).string) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(
        withUnsafeBytes(of: entry.pointee.d_name) { bytes in
          String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        })
    }
    return names
  }

  func exists(_ path: FilePath) -> Bool {
    guard let file = try? FileDescriptor.open(absolute(path), .readOnly) else { return false }
    try? file.close()
    return true
  }

  /// Puts the root before an absolute path.
  private func absolute(_ path: FilePath) -> FilePath {
    root.appending(path.components)
  }
}
