import AttentionBench
import Foundation

/// The files of one command: all are written, or none.
///
/// Each is first written whole beside its target and put on disk; then all take their targets' places, while
/// what stood there keeps a second name until the last has.
struct OutputFiles {
  private let files: [Output]

  private struct Output {
    let option: String
    /// Where it lies, links followed.
    let target: String
    let bytes: [UInt8]
    var hidden: String { Self.beside(target, "partial") }
    var old: String { Self.beside(target, "old") }

    private static func beside(_ path: String, _ ending: String) -> String {
      let url = URL(fileURLWithPath: path)
      return url.deletingLastPathComponent()
        .appendingPathComponent(".\(url.lastPathComponent).\(getpid()).\(ending)").path
    }
  }

  /// Files with the options that named them.
  init(_ files: [(option: String, path: String, bytes: [UInt8])]) {
    self.files = files.map {
      Output(option: $0.option, target: Self.resolved($0.path), bytes: $0.bytes)
    }
  }

  /// Finds out whether the files can be written, before anything is measured for them.
  ///
  /// - Throws: `PlanError` naming the option.
  static func check(_ files: [(option: String, path: String)]) throws(PlanError) {
    var known: [String: String] = [:]
    for (option, path) in files {
      let target = resolved(path)
      if let other = known.updateValue(option, forKey: target) {
        throw PlanError(
          argument: option, value: path, rule: "is the file of \(other) too",
          fix: "name a file for each")
      }
      let directory = URL(fileURLWithPath: target).deletingLastPathComponent().path
      let type = try? FileManager.default.attributesOfItem(atPath: target)[.type]
      // A directory, a device or a pipe would be lost by a file that takes its place.
      let isTaken = type.map { $0 as? FileAttributeType != .typeRegular } ?? false
      guard !isTaken, access(directory, W_OK) == 0 else {
        throw PlanError(
          argument: option, value: path,
          rule: isTaken ? "is no file" : "is in no directory that may be written",
          fix: "name a file in a directory that exists")
      }
    }
  }

  /// Writes all.
  ///
  /// - Throws: `PlanError` naming the option of the file that could not be written; what stood at each path is
  ///   there again then.
  func write() throws(PlanError) {
    var placed: [Output] = []
    do throws(PlanError) {
      for file in files { try prepare(file) }
      for file in files {
        unlink(file.old)
        let isNew = link(file.target, file.old) != 0 && errno == ENOENT
        guard isNew || access(file.old, F_OK) == 0, rename(file.hidden, file.target) == 0 else {
          throw Self.refusal(file)
        }
        placed.append(file)
      }
    } catch {
      for file in files { unlink(file.hidden) }
      for file in placed where rename(file.old, file.target) != 0 { unlink(file.target) }
      for file in files { unlink(file.old) }
      throw error
    }
    for file in files { unlink(file.old) }
  }

  private func prepare(_ file: Output) throws(PlanError) {
    let descriptor = open(file.hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.refusal(file) }
    defer { close(descriptor) }
    var done = 0
    while done < file.bytes.count {
      let count = file.bytes[done...].withUnsafeBytes {
        Foundation.write(descriptor, $0.baseAddress, $0.count)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Self.refusal(file) }
      done += count
    }
    guard fsync(descriptor) == 0 else { throw Self.refusal(file) }
  }

  private static func refusal(_ file: Output) -> PlanError {
    PlanError(
      argument: file.option, value: file.target,
      rule: "cannot be written (\(String(cString: strerror(errno))))",
      fix: "make room, or name a file in a directory that may be written")
  }

  private static func resolved(_ path: String) -> String {
    URL(fileURLWithPath: path).resolvingSymlinksInPath().path
  }
}
