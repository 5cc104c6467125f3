import Foundation
import SystemPackage
import TensorFiles
import Testing

/// Where an output leads, and when two lead to one place.
@Suite struct OutputDestinationTests {
  private let directory: TemporaryDirectory
  private let manager = FileManager.default

  init() throws {
    directory = try TemporaryDirectory()
    for name in ["sub", "other"] {
      try manager.createDirectory(
        atPath: directory.path(name), withIntermediateDirectories: false)
    }
    _ = try directory.file("old", [1])
    try manager.linkItem(atPath: directory.path("old"), toPath: directory.path("hard"))
    for (link, target) in [
      ("soft", "old"), ("dangling", "sub/missing"), ("folder", "sub"), ("chain", "dangling"),
      ("round", "circle"), ("circle", "round"), ("device", "/dev/null"),
    ] {
      try manager.createSymbolicLink(atPath: directory.path(link), withDestinationPath: target)
    }
  }

  private func write(_ names: [String]) throws {
    _ = try OutputTransaction(
      names.map { OutputFile($0.hasPrefix("/") ? $0 : directory.path($0), Array($0.utf8)) }
    ).commit()
  }

  @Test(arguments: [
    ("x", "./x"), ("x", "sub/../x"), ("x", "x"), ("old", "./old"), ("old", "soft"),
    ("old", "hard"), ("soft", "hard"), ("sub/x", "folder/x"), ("dangling", "sub/missing"),
    ("chain", "folder/missing"), ("chain", "dangling"), ("device", "/dev/null"),
    ("x", "folder/../x"), ("sub/./x", "sub//x"),
  ])
  func oneFileUnderTwoNames(first: String, second: String) throws {
    let before = try directory.tree()
    for names in [[first, second], [second, first]] {
      let paths = names.map { $0.hasPrefix("/") ? $0 : directory.path($0) }
      for attempt in [{ try OutputTransaction.check(paths) }, { try write(names) }] {
        let error = #expect(throws: OutputError.self) { try attempt() }
        #expect(error?.path == paths[1] && error?.reason == .sameFile(as: paths[0]))
      }
    }
    #expect(try directory.tree() == before)
  }

  @Test(arguments: [("x", "y"), ("x", "sub/x"), ("sub/x", "other/x"), ("old", "sub/old")])
  func twoFiles(first: String, second: String) throws {
    try write([first, second])
    #expect(try bytes(of: directory.path(first)) == Array(first.utf8))
    #expect(try bytes(of: directory.path(second)) == Array(second.utf8))
  }

  @Test(arguments: [("soft", "old"), ("dangling", "sub/missing"), ("chain", "sub/missing")])
  func linksAreWrittenThrough(link: String, target: String) throws {
    let leads = try manager.destinationOfSymbolicLink(atPath: directory.path(link))
    try write([link])
    #expect(try manager.destinationOfSymbolicLink(atPath: directory.path(link)) == leads)
    #expect(try bytes(of: directory.path(target)) == Array(link.utf8))
    #expect(try bytes(of: directory.path("hard")) == [1], "another name keeps what it named")
  }

  @Test(arguments: [
    ("round", OutputError.Reason.system(.tooManySymbolicLinkLevels)), ("sub", .directory),
    ("folder", .directory), ("x/", .directory), ("sub/..", .directory), (".", .directory),
    ("none/x", .system(.noSuchFileOrDirectory)), ("old/x", .system(.notDirectory)),
  ])
  func placesWithoutAFile(name: String, reason: OutputError.Reason) throws {
    let before = try directory.tree()
    let path = directory.path("") + "/" + name
    for attempt in [
      { try OutputTransaction.check([path]) },
      { _ = try OutputTransaction([OutputFile(path, [1])]).commit() },
    ] {
      let error = #expect(throws: OutputError.self) { try attempt() }
      #expect(error?.reason == reason && "\(error!)".hasSuffix("; nothing was changed"))
    }
    #expect(try directory.tree() == before)
  }

  @Test func anEmptyNameIsAnError() {
    #expect(throws: OutputError.self) { try OutputTransaction.check([""]) }
  }

  @Test func devicesStayDevices() throws {
    try write(["device", "x"])
    let type = try manager.attributesOfItem(atPath: "/dev/null")[.type] as? FileAttributeType
    #expect(type == .typeCharacterSpecial)
    #expect(try manager.destinationOfSymbolicLink(atPath: directory.path("device")) == "/dev/null")
    let before = try directory.tree()
    #expect(throws: OutputError.self) { try write(["x", "/dev/full", "sub/y"]) }
    #expect(try directory.tree() == before)
  }

  /// A pipe, and a program that reads it.
  private func pipe(readBy reader: String...) throws -> (path: String, process: Process) {
    let path = directory.path("pipe")
    try #require(mkfifo(path, 0o600) == 0)
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = reader + [path]
    _ = try directory.file("got", [])
    process.standardOutput = FileHandle(forWritingAtPath: directory.path("got"))
    try process.run()
    return (path, process)
  }

  @Test func aPipeGetsEverythingAndStays() throws {
    let (pipe, reader) = try pipe(readBy: "cat")
    let content = [UInt8](repeating: 7, count: 300_000)
    _ = try OutputTransaction([
      OutputFile(pipe, content), OutputFile(directory.path("x"), content),
    ]).commit()
    reader.waitUntilExit()
    #expect(try bytes(of: directory.path("got")) == content)
    #expect(try bytes(of: directory.path("x")) == content)
    #expect(try Stat(FilePath(pipe)).type == .fifo)
  }

  /// The reader goes away between two writes or in the middle of one; that is an error, and no end
  /// of the process.
  @Test(arguments: [1, 1000, 1_000_000])
  func aPipeThatNobodyReadsAnyMoreTakesTheFilesWithIt(piece: Int) throws {
    let (pipe, reader) = try pipe(readBy: "head", "-c", "1")
    defer { reader.waitUntilExit() }
    let before = try directory.contents()
    let file = OutputFile(pipe) { sink throws(Errno) in
      // More than any pipe holds, so that the writer waits for a reader that is gone.
      for _ in 0..<max(1, 4_000_000 / piece) {
        try sink.write([UInt8](repeating: 7, count: piece))
      }
    }
    let error = #expect(throws: OutputError.self) {
      try OutputTransaction([OutputFile(directory.path("x"), [1]), file]).commit()
    }
    #expect(error?.reason == .system(.brokenPipe))
    #expect(error.map { "\($0)".hasSuffix("\(pipe) has been written to") } == true)
    #expect(try directory.contents() == before)
  }

  /// A shell's `>> log`: what stood there before stays.
  @Test func aDescriptorIsWrittenWhereItStands() throws {
    let path = try directory.file("log", Array("before ".utf8))
    let file = open(path, O_WRONLY | O_APPEND)
    defer { close(file) }
    let name = "/dev/fd/\(file)"
    _ = try OutputTransaction([OutputFile(name, Array("after".utf8))]).commit()
    #expect(try bytes(of: path) == Array("before after".utf8))
    let error = #expect(throws: OutputError.self) { try OutputTransaction.check([name, path]) }
    #expect(error?.reason == .sameFile(as: name))
    let readOnly = open(path, O_RDONLY)
    defer { close(readOnly) }
    #expect(throws: OutputError.self) { try OutputTransaction.check(["/dev/fd/\(readOnly)"]) }
  }

  @Test(arguments: [0o600, 0o640, 0o755, 0o666])
  func permissionsStay(mode: Int) throws {
    let path = directory.path("old")
    try manager.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    try write(["old"])
    let found = try manager.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
    #expect(found?.intValue == mode)
  }

  @Test func namesMayBeAsLongAsTheFileSystemAllows() throws {
    let name = String(repeating: "é", count: 127)
    try write([name])
    try write([name])
    #expect(try bytes(of: directory.path(name)) == Array(name.utf8))
    #expect(try directory.contents().count == 12)
  }

  /// What a process that is killed at any of its calls really leaves, and nothing of anybody else's.
  @Test func leftoversOfAKilledProcessGo() throws {
    let others = [
      ".old.mine.old", ".old.mine.partial", ".old.1.partial", ".old.202612011230.old", ".old.old",
      ".old.backup202612.old", ".old.attnbench-.old", ".old.attnbench-mine.old",
      ".old.attnbench-0123456789abc.old.mine", ".old.attnbench-0123456789abc.mine.old",
      ".old.attnbench-0123456789ABC.old", ".older.attnbench-0123456789abc.partial",
    ]
    for name in others { _ = try directory.file(name, []) }
    let before = try directory.contents()
    var left: Set<String> = []
    // From some call on none works, so that nothing is undone either.
    for first in 1..<9 {
      let system = FailingFileSystem { $0 >= first }
      _ = try? OutputTransaction([OutputFile(directory.path("old"), "new")], on: system).commit()
      left.formUnion(try directory.contents().filter { !before.contains($0) })
    }
    #expect(Set(left.map { $0.split(separator: ".").last }) == ["partial", "old"])
    OutputTransaction.removeLeftovers(of: directory.path("old"))
    #expect(try directory.contents() == before)
  }
}
