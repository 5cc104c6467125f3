import Foundation
import Testing

/// A library that is loaded before the command and lets one of its calls fail: see
/// Tests/FailingCalls/failing_calls.c. Compiled once for all tests.
enum FailingCalls {
  enum Blow: Sendable {
    case error(Int32)
    case killBefore
    case killAfter
  }

  private static let library = Result {
    let directory = try TemporaryDirectory()
    let source = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "FailingCalls/failing_calls.c").path
    let library = directory.path("failing_calls.so")
    let result = try AttnbenchProcess.shell(
      "clang -shared -fPIC -O1 -o '\(library)' '\(source)' -ldl", in: directory.root)
    try #require(result.code == 0, "\(result.error)")
    return library
  }

  /// Runs the command with a blow at its call `index`, counted from 1, below its directory.
  ///
  /// - Returns: the result, and the call that was hit; nil when there are fewer.
  static func run(
    _ arguments: [String], _ blow: Blow, at index: Int, in directory: TemporaryDirectory,
    environment: [String: String] = [:]
  ) throws -> (result: AttnbenchProcess.Result, call: String?) {
    let log = try TemporaryDirectory()
    defer { log.remove() }
    var environment = environment
    environment["LD_PRELOAD"] = try library.get()
    environment["FAIL_BELOW"] = directory.root
    environment["FAIL_AT"] = "\(index)"
    environment["FAIL_LOG"] = log.path("call")
    switch blow {
    case .error(let code): environment["FAIL_ERRNO"] = "\(code)"
    case .killBefore: break
    case .killAfter: environment["FAIL_AFTER"] = "1"
    }
    let result = try AttnbenchProcess.run(
      arguments, environment: environment, in: directory.root)
    return (result, try? String(contentsOfFile: log.path("call"), encoding: .utf8))
  }
}

extension TemporaryDirectory {
  /// Every path in it, hidden ones included, and what is found there; nothing for a directory.
  func tree() throws -> [String: Data] {
    let files = FileManager.default
    return Dictionary(
      uniqueKeysWithValues: try files.subpathsOfDirectory(atPath: root).map {
        ($0, files.contents(atPath: path($0)) ?? Data())
      })
  }

  /// Another one with the same in it.
  func copy() throws -> TemporaryDirectory {
    let copy = try TemporaryDirectory()
    copy.remove()
    try FileManager.default.copyItem(atPath: root, toPath: copy.root)
    return copy
  }

  func link(_ name: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: target)
  }

  func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
  }
}
