import AttentionBench
import Foundation
import TensorFiles
import Testing

/// Nothing is lost, whatever fails: every command that writes files, with each of its calls failing
/// in turn, killed at each of them, and under limits.
@Suite("Outputs", .serialized)
struct OutputFailureTests {
  /// A command whose outputs stand over old files, and lie behind links and in new directories.
  struct Scene: Sendable, CustomTestStringConvertible {
    let name: String
    let arguments: [String]
    var environment: [String: String] = [:]
    let prepare: @Sendable (TemporaryDirectory) throws -> Void

    var testDescription: String { name }

    /// Before the command, and the trees before and after one that nothing disturbs.
    func stage() throws -> (
      directory: TemporaryDirectory, before: [String: Data], after: [String: Data]
    ) {
      let directory = try TemporaryDirectory()
      try prepare(directory)
      let done = try directory.copy()
      defer { done.remove() }
      let result = try AttnbenchProcess.run(
        arguments, environment: environment, in: done.root)
      try #require(result.code == 0, "\(result.error)")
      let (before, after) = (try directory.tree(), try done.tree())
      try #require(before != after)
      return (directory, before, after)
    }
  }

  static let tensors: @Sendable (TemporaryDirectory) throws -> Void = { directory in
    try TestTensors(heads: 2, n: 9).write(to: directory)
    for (past, name) in [("pk", "k"), ("pv", "v")] {
      try FileManager.default.copyItem(
        atPath: directory.path(name + ".npy"), toPath: directory.path(past + ".npy"))
    }
    try FileManager.default.createDirectory(
      atPath: directory.path("sub"), withIntermediateDirectories: false)
    try directory.write("sub/old.npy", "old")
    try directory.link("link.npy", to: "sub/old.npy")
    try directory.link("dangling.npy", to: "sub/none.npy")
  }

  static let step = [
    "run", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "--past-k", "pk.npy", "--past-v",
    "pv.npy", "--strategy", "flash", "--threads", "1",
  ]

  /// A finished sweep, made once.
  static let sweep = Result {
    let directory = try TemporaryDirectory()
    let result = try AttnbenchProcess.run(
      [
        "sweep", "--n", "16,32", "--strategy", "full,flash", "--threads", "1", "--min-samples",
        "3", "--rel-ci", "90%", "-o", "out",
      ], environment: ["PATH": "/nowhere"], in: directory.root)
    try #require(result.code == 0, "\(result.error)")
    return directory
  }

  static let results: @Sendable (TemporaryDirectory) throws -> Void = { directory in
    try FileManager.default.copyItem(
      atPath: sweep.get().path("out"), toPath: directory.path("out"))
    try directory.write("page.html", "old")
    try directory.link("link.html", to: "page.html")
  }

  static let scenes = [
    Scene(
      name: "run over its own inputs and through links",
      arguments: step + [
        "-o", "q.npy", "--present-k", "pk.npy", "--present-v", "link.npy", "--lse",
        "dangling.npy",
      ], prepare: tensors),
    Scene(
      name: "run into its input file",
      arguments: [
        "run", "--inputs", "qkv.safetensors:layer7", "--strategy", "flash", "--threads", "1", "-o",
        "qkv.safetensors", "--lse", "qkv.safetensors", "--scores", "sub/old.npy",
      ], prepare: tensors),
    Scene(
      name: "mask", arguments: ["mask", "--strategy", "window(2)", "-n", "9", "-o", "mask.svg"]
    ) { try $0.write("mask.svg", "old") },
    Scene(name: "report", arguments: ["report", "out", "-o", "link.html"], prepare: results),
    Scene(
      name: "plot",
      arguments: ["plot", "out", "--kind", "speedup", "--format", "svg", "-o", "pictures/new"],
      prepare: results),
    Scene(
      name: "retrieve",
      arguments: [
        "retrieve", "--n", "64", "--strategy", "window(8)", "--needles", "4", "--threads", "1",
        "-o", "found/new",
      ], environment: ["PATH": "/nowhere"]
    ) { _ in },
  ]

  @Test("each call fails in turn: all or nothing, and the message is true", arguments: scenes)
  func failing(_ scene: Scene) throws {
    let (directory, before, after) = try scene.stage()
    defer { directory.remove() }
    var calls: [String] = []
    while true {
      let copy = try directory.copy()
      defer { copy.remove() }
      // What a broken disk and a full one say, by turns.
      let (result, call) = try FailingCalls.run(
        scene.arguments, .error(calls.count % 2 == 0 ? EIO : ENOSPC), at: calls.count + 1,
        in: copy, environment: scene.environment)
      let tree = try copy.tree()
      guard let call else {
        #expect(result.code == 0 && tree == after, "\(result.error)")
        break
      }
      calls.append(call)
      if result.code == 0 {
        // The second name of an old file, which is removed at the second attempt.
        #expect(tree == after, "\(calls)")
      } else {
        #expect(result.code == 1 && tree == before, "\(calls): \(result.error)")
        let errors = result.errorLines.filter { $0.hasPrefix("error: ") }
        #expect(errors.count == 1 && result.errorLines.last == errors.first)
        #expect(result.error.contains("; nothing was changed"), "\(calls): \(result.error)")
      }
    }
    for call in ["open", "write", "fsync", "close", "rename"] {
      #expect(calls.contains(call), "\(call) is never made")
    }
  }

  @Test(
    "killed at each call, every file is the old or the new one, and no old one is lost",
    arguments: scenes)
  func killed(_ scene: Scene) throws {
    let (directory, before, after) = try scene.stage()
    defer { directory.remove() }
    var count = 0
    while true {
      let copy = try directory.copy()
      defer { copy.remove() }
      let (result, call) = try FailingCalls.run(
        scene.arguments, count % 2 == 0 ? .killBefore : .killAfter, at: count + 1, in: copy,
        environment: scene.environment)
      guard call != nil else { break }
      count += 1
      #expect(result.code == -SIGKILL)
      try expectWhole(copy.tree(), before, after)
    }
    #expect(count > 8)
  }

  @Test("killed at any time, likewise")
  func killedAtRandom() throws {
    let scene = Scene(name: "", arguments: Self.scenes[0].arguments) { directory in
      try Self.tensors(directory)
      try TestTensors(heads: 8, n: 500, dimension: 64).write(to: directory)
      for (past, name) in [("pk", "k"), ("pv", "v")] {
        try FileManager.default.removeItem(atPath: directory.path(past + ".npy"))
        try FileManager.default.copyItem(
          atPath: directory.path(name + ".npy"), toPath: directory.path(past + ".npy"))
      }
    }
    let (directory, before, after) = try scene.stage()
    defer { directory.remove() }
    let began = Date()
    let whole = try directory.copy()
    _ = try AttnbenchProcess.run(scene.arguments, in: whole.root)
    whole.remove()
    let duration = Date().timeIntervalSince(began)
    var generator = SeededGenerator(seed: 6)
    for _ in 0..<20 {
      let copy = try directory.copy()
      defer { copy.remove() }
      let process = Process()
      process.executableURL = URL(fileURLWithPath: AttnbenchProcess.executable)
      process.arguments = scene.arguments
      process.currentDirectoryURL = URL(fileURLWithPath: copy.root)
      process.standardError = FileHandle.nullDevice
      try process.run()
      // Outputs are written at the end.
      usleep(UInt32(Double.random(in: 0.3...1.1, using: &generator) * duration * 1e6))
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
      try expectWhole(copy.tree(), before, after)
    }
  }

  private func expectWhole(
    _ tree: [String: Data], _ before: [String: Data], _ after: [String: Data]
  ) {
    let isDone = after.allSatisfy { tree[$0.key] == $0.value }
    for (path, content) in before {
      #expect(tree[path] == content || tree[path] == after[path], "\(path)")
      let isKept = tree.contains { $0.value == content }
      #expect(isDone || isKept, "what was in \(path) is gone")
    }
    for (path, content) in tree where before[path] == nil && after[path] != content {
      let name = path.split(separator: "/").last ?? ""
      let isHidden = name.hasSuffix(".partial") || name.hasSuffix(".old")
      #expect(name.hasPrefix(".") && isHidden, "\(path)")
    }
  }

  @Test(
    "a file size limit between the sizes of the outputs changes nothing",
    arguments: [0, 2, 3, 4].map { scenes[$0] })
  func sizeLimit(_ scene: Scene) throws {
    let (directory, before, after) = try scene.stage()
    defer { directory.remove() }
    let words = scene.arguments.map { "'\($0)'" }.joined(separator: " ")
    let sizes = after.filter { before[$0.key] != $0.value }.values.map(\.count)
    var failures = 0
    for blocks in [0] + Set(sizes.map { $0 / 512 }).sorted() {
      let copy = try directory.copy()
      defer { copy.remove() }
      // The message goes through a pipe, which has no limit.
      let result = try AttnbenchProcess.shell(
        "{ ulimit -f \(blocks); TMPDIR=/dev/shm \"$A\" \(words) >/dev/null; echo $?; } 2>&1 | cat",
        in: copy.root)
      let isDone = result.outputLines.last == "0"
      #expect(try copy.tree() == (isDone ? after : before), "\(result.output)")
      if !isDone {
        failures += 1
        #expect(result.output.contains("ulimit -f"), "\(result.output)")
      }
    }
    #expect(failures > 1)
  }
}
