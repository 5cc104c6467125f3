import Foundation
import SystemPackage
import TensorFiles
import Testing

/// All outputs or none, whichever call fails.
@Suite struct OutputTransactionTests {
  /// A directory with old files, and a transaction that replaces two of them, one of them through
  /// a link, and makes two new ones, one of them in a directory that does not exist.
  private struct Scene {
    let directory: TemporaryDirectory
    let before: [String: [UInt8]]

    init() throws {
      directory = try TemporaryDirectory()
      let manager = FileManager.default
      try manager.createDirectory(
        atPath: directory.path("sub"), withIntermediateDirectories: false)
      _ = try directory.file("a", Array("old a".utf8))
      _ = try directory.file("sub/b", Array("old b".utf8))
      try manager.createSymbolicLink(atPath: directory.path("link"), withDestinationPath: "sub/b")
      before = try directory.tree()
    }

    static let names = ["a", "link", "new", "x/y/c"]

    /// Two writes a file, so that there is a moment with half of it.
    func commit(on system: any FileSystem) throws(OutputError) -> [String] {
      let files = Self.names.map { name in
        OutputFile(directory.path(name)) { sink throws(Errno) in
          try sink.write(Array("new".utf8))
          try sink.write(Array(" \(name)".utf8))
        }
      }
      return try OutputTransaction(files, creating: directory.path("x/y"), on: system).commit()
    }

    var after: [String: [UInt8]] {
      before.merging(
        [
          "a": "new a", "sub/b": "new link", "link": "new link", "new": "new new",
          "x/y/c": "new x/y/c", "x": "", "x/y": "",
        ].mapValues { Array($0.utf8) }
      ) { $1 }
    }
  }

  @Test func everythingIsWrittenAndNothingElse() throws {
    let scene = try Scene()
    let system = FailingFileSystem { _ in false }
    #expect(try scene.commit(on: system).isEmpty)
    #expect(try scene.directory.tree() == scene.after)
    for call in ["open", "write", "synchronize", "close", "addName", "move", "remove"] {
      #expect(system.calls.contains(call))
    }
    // Every byte is on the disk before the first file takes its place.
    let lastSync = try #require(system.calls.lastIndex(of: "synchronize"))
    #expect(try lastSync < #require(system.calls.firstIndex(of: "addName")))
    #expect(try lastSync < #require(system.calls.firstIndex(of: "move")))
    #expect(
      try #require(system.calls.lastIndex(of: "synchronizeDirectory"))
        < #require(system.calls.firstIndex(of: "remove")))
  }

  /// Not permitted: a file system without second names says so, and old files are copied there.
  @Test(arguments: [Errno.ioError, .noSpace, .fileTooLarge, .notPermitted, .readOnlyFileSystem])
  func eachCallFailsOnce(error: Errno) throws {
    var index = 0
    var failures = 0
    while true {
      let scene = try Scene()
      let system = FailingFileSystem(with: error) { $0 == index }
      var failure: OutputError?
      do throws(OutputError) {
        let notes = try scene.commit(on: system)
        #expect(notes.isEmpty)
      } catch {
        failure = error
      }
      if failure == nil {
        #expect(try scene.directory.tree() == scene.after, "\(system.calls)")
      }
      if let failure {
        failures += 1
        #expect(try scene.directory.tree() == scene.before, "\(system.calls)")
        switch failure.reason {
        case .system(let found), .closedDirectory(_, let found): #expect(found == error)
        default: Issue.record("\(failure)")
        }
        #expect("\(failure)".hasPrefix(scene.directory.path("")), "\(failure)")
        #expect("\(failure)".hasSuffix("; nothing was changed"), "\(failure)")
      }
      guard system.calls.count > index else { break }
      index += 1
    }
    // Let pass are the names of two old files that are removed at the second attempt, the parents
    // of the new directory that exist already, and two second names that become copies.
    let parents = FilePath(try Scene().directory.path("")).components.count
    let letPass = parents + (error == .notPermitted ? 4 : 2)
    #expect(index > 30 && failures == index - letPass, "\(failures) of \(index)")
  }

  /// The disk goes away and does not come back: then not everything can be put back, and the message
  /// says what was not.
  @Test(arguments: [Errno.ioError, .notPermitted])
  func everyCallFailsFromOneOn(error: Errno) throws {
    var index = 0
    while true {
      let scene = try Scene()
      let system = FailingFileSystem(with: error) { $0 >= index }
      var said: [String] = []
      var isDone = false
      do throws(OutputError) {
        said = try scene.commit(on: system)
        isDone = true
      } catch {
        said = ["\(error)"]
      }
      let tree = try scene.directory.tree()
      let text = said.joined(separator: "\n")
      #expect(isDone || tree == scene.before || !text.contains("nothing was changed"), "\(text)")
      for (path, content) in scene.before {
        let now = try #require(tree[path], "\(path) is gone")
        if isDone {
          #expect(now == scene.after[path])
        } else if now != content {
          // The link is the same file under another name.
          #expect(now == scene.after[path] && text.contains("holds the new content"), "\(text)")
          let kept = tree.first { $0.value == content && $0.key.hasSuffix(".old") }
          #expect(kept.map { text.contains($0.key) } == true, "\(path): \(text)")
        }
      }
      for path in tree.keys where scene.before[path] == nil && scene.after[path] == nil {
        #expect(text.contains(path), "\(path): \(text)")
      }
      guard system.calls.count > index else { break }
      index += 1
    }
    #expect(index > 30)
  }

  @Test func writesThatTakeOnlyAPartAreContinued() throws {
    let scene = try Scene()
    _ = try scene.commit(on: FailingFileSystem(mostBytes: 2) { _ in false })
    #expect(try scene.directory.tree() == scene.after)
  }

  @Test func aCheckChangesNothingAndFindsWhatFails() throws {
    let scene = try Scene()
    let paths = Scene.names.dropLast().map(scene.directory.path)
    var index = 0
    while true {
      let system = FailingFileSystem(with: .readOnlyFileSystem) { $0 == index }
      do throws(OutputError) {
        try OutputTransaction.check(paths, on: system)
        try OutputTransaction.check(directory: scene.directory.path("x/y"), on: system)
      } catch {
        #expect("\(error)".hasSuffix("nothing was changed"), "\(error)")
      }
      #expect(try scene.directory.tree() == scene.before)
      guard system.calls.count > index else { break }
      index += 1
    }
    #expect(index > 8)
    let path = scene.directory.path("a/b")
    #expect(throws: OutputError.self) { try OutputTransaction.check([path]) }
    #expect(throws: OutputError.self) { try OutputTransaction.check(directory: path) }
    #expect(throws: OutputError.self) { try OutputTransaction.check(["/proc/x.npy"]) }
    #expect(throws: OutputError.self) { try OutputTransaction.check(directory: "/proc/x/y") }
  }
}

extension TemporaryDirectory {
  /// Every path in it, hidden ones included, and what is found there; nothing for a directory.
  func tree() throws -> [String: [UInt8]] {
    let names = try FileManager.default.subpathsOfDirectory(atPath: path(""))
    return Dictionary(
      uniqueKeysWithValues: names.map { name in
        (name, FileManager.default.contents(atPath: path(name)).map { [UInt8]($0) } ?? [])
      })
  }

  /// A directory that is closed is not the file's fault, and a name can be too long.
  @Test func whatStandsInTheWayIsNamed() throws {
    let directory = try TemporaryDirectory()
    for error in [Errno.permissionDenied, .readOnlyFileSystem, .notPermitted] {
      let failure = try #require(throws: OutputError.self) {
        try OutputTransaction.check(
          [directory.path("o")], on: FailingFileSystem(with: error) { $0 == 0 })
      }
      #expect(failure.description.contains("written into the directory /"), "\(failure)")
      #expect(failure.description.contains(String(describing: error)), "\(failure)")
      #expect(failure.description.contains("name a file in another one"), "\(failure)")
    }
    let long = try #require(throws: OutputError.self) {
      try OutputTransaction.check([directory.path(String(repeating: "x", count: 256))])
    }
    #expect(long.description.contains("at most 255 bytes"), "\(long)")
  }
}
