import Foundation
import TensorFiles
import Testing

/// Where outputs may go: links, devices, pipes, and no two to one file.
@Suite("Places of outputs")
struct OutputPlaceTests {
  private func directory() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try OutputFailureTests.tensors(directory)
    try FileManager.default.linkItem(
      atPath: directory.path("v.npy"), toPath: directory.path("hard.npy"))
    try directory.link("folder", to: "sub")
    try directory.link("soft.npy", to: "v.npy")
    try directory.link("new.npy", to: "there.npy")
    try directory.link("st.safetensors", to: "qkv.safetensors")
    return directory
  }

  private func step(
    _ arguments: [String], _ directory: TemporaryDirectory
  ) throws -> AttnbenchProcess.Result {
    try AttnbenchProcess.run(OutputFailureTests.step + arguments, in: directory.root)
  }

  @Test("the last output fails, and what was there before is there after")
  func lastFails() throws {
    let directory = try directory()
    defer { directory.remove() }
    try directory.write("o.npy", "old")
    let before = try directory.tree()
    for arguments in [
      ["-o", "o.npy", "--present-k", "pk.npy", "--present-v", "nodir/pv.npy"],
      ["-o", "q.npy", "--lse", "nodir/lse.npy"], ["-o", "soft.npy", "--lse", "q.npy/lse.npy"],
      ["-o", "o.npy", "--present-k", "pk.npy", "--present-v", "/proc/pv.npy"],
    ] {
      let result = try step(arguments, directory)
      #expect(result.code == 1 && result.errorLines.count == 1)
      #expect(result.error.hasPrefix("error: \(arguments.last ?? ""): cannot write: "))
      #expect(result.error.hasSuffix("; nothing was changed\n"), "\(result.error)")
      #expect(try directory.tree() == before)
    }
  }

  @Test(
    "two outputs that are one file are refused before anything is read",
    arguments: [
      ("-o", "x.npy", "--lse", "./x.npy"), ("-o", "x.npy", "--lse", "sub/../x.npy"),
      ("--present-k", "p.npy", "--present-v", "./p.npy"), ("-o", "v.npy", "--lse", "soft.npy"),
      ("-o", "v.npy", "--lse", "hard.npy"), ("-o", "soft.npy", "--lse", "hard.npy"),
      ("-o", "sub/x.npy", "--lse", "folder/x.npy"), ("-o", "new.npy", "--lse", "there.npy"),
      ("-o", "dangling.npy", "--scores", "folder/none.npy"),
      ("-o", "x.safetensors", "--lse", "./x.safetensors"),
      ("-o", "st.safetensors", "--lse", "qkv.safetensors"),
      ("-o", "sub/x.safetensors", "--lse", "folder/../sub/x.safetensors"),
    ])
  func oneFile(option: String, path: String, other: String, otherPath: String) throws {
    let directory = try directory()
    defer { directory.remove() }
    // Not even that there is nothing to read is found out.
    try FileManager.default.removeItem(atPath: directory.path("q.npy"))
    let before = try directory.tree()
    let output = option == "-o" ? [] : ["-o", "o.npy"]
    let result = try step(output + [option, path, other, otherPath], directory)
    #expect(result.code == 64 && result.errorLines.count == 1)
    let named = option == "-o" ? "--output" : option
    for part in ["\(named) \(path)", "\(other) \(otherPath)", "the same file"] {
      #expect(result.error.contains(part), "\(result.error)")
    }
    #expect(try directory.tree() == before)
  }

  @Test("one name for several tensors is one .safetensors file")
  func together() throws {
    let directory = try directory()
    defer { directory.remove() }
    let result = try step(["-o", "x.safetensors", "--lse", "x.safetensors"], directory)
    #expect(result.code == 0, "\(result.error)")
    #expect(try SafetensorsFile(directory.path("x.safetensors")).tensorNames == ["lse", "o"])
  }

  @Test("links are written through, and the file behind is replaced as a whole")
  func links() throws {
    let directory = try directory()
    defer { directory.remove() }
    let files = FileManager.default
    let result = try step(["-o", "soft.npy", "--lse", "dangling.npy"], directory)
    #expect(result.code == 0, "\(result.error)")
    #expect(try files.destinationOfSymbolicLink(atPath: directory.path("soft.npy")) == "v.npy")
    #expect(
      try files.destinationOfSymbolicLink(atPath: directory.path("dangling.npy")) == "sub/none.npy")
    #expect(try NpyFile.read(directory.path("v.npy")).shape == [2, 9, 5])
    #expect(try NpyFile.read(directory.path("sub/none.npy")).shape == [2, 9])
  }

  @Test("a device and a pipe are written to and stay what they are")
  func streams() throws {
    let directory = try directory()
    defer { directory.remove() }
    let files = FileManager.default
    try directory.link("null.npy", to: "/dev/null")
    try #require(mkfifo(directory.path("pipe.npy"), 0o600) == 0)
    let result = try AttnbenchProcess.shell(
      "cat pipe.npy > got.npy & \"$A\" \(OutputFailureTests.step.joined(separator: " ")) "
        + "-o pipe.npy --lse null.npy --present-k k2.npy; code=$?; wait; exit $code",
      in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(try NpyFile.read(directory.path("got.npy")).shape == [2, 9, 5])
    #expect(try NpyFile.read(directory.path("k2.npy")).shape == [2, 18, 5])
    let pipe = try files.attributesOfItem(atPath: directory.path("pipe.npy"))
    #expect(pipe[.type] as? FileAttributeType == .typeUnknown)
    let null = try files.attributesOfItem(atPath: "/dev/null")
    #expect(null[.type] as? FileAttributeType == .typeCharacterSpecial)
  }

  @Test("an output on a full device takes the files with it")
  func fullDevice() throws {
    let directory = try directory()
    defer { directory.remove() }
    try directory.link("full.npy", to: "/dev/full")
    let before = try directory.tree()
    let result = try step(["-o", "q.npy", "--lse", "full.npy"], directory)
    #expect(result.code == 1)
    #expect(
      result.errorLines == [
        "error: full.npy: cannot write: No space left on device; make room or write to another "
          + "disk; nothing was changed"
      ])
    #expect(try directory.tree() == before)
  }

  @Test("/dev/stdout gets the picture or the page, and nothing between")
  func standardOutput() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try OutputFailureTests.results(directory)
    let mask = "\"$A\" mask --strategy 'window(2)' -n 4 -o"
    for place in ["/dev/stdout", "/dev/fd/1", "link"] {
      try? directory.link("link", to: "/dev/stdout")
      // Into a file, behind what stands there, and into a pipe.
      let result = try AttnbenchProcess.shell(
        "\(mask) picture.svg >/dev/null 2>&1; echo before > log; \(mask) \(place) >> log "
          + "&& \(mask) \(place) | cat > piped && \"$A\" report out -o \(place) > page",
        in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      let picture = try String(contentsOfFile: directory.path("picture.svg"), encoding: .utf8)
      #expect(
        try String(contentsOfFile: directory.path("log"), encoding: .utf8) == "before\n" + picture)
      #expect(try String(contentsOfFile: directory.path("piped"), encoding: .utf8) == picture)
      let page = try String(contentsOfFile: directory.path("page"), encoding: .utf8)
      #expect(page.hasPrefix("<!DOCTYPE html>") && page.hasSuffix("</html>\n"))
    }
    let stays = try AttnbenchProcess.shell("test -L /dev/stdout && test -c /dev/null", in: "/")
    #expect(stays.code == 0)
  }

  @Test("recommend --save: a device stays one, and what cannot be saved is found at once")
  func save() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try directory.link("null.json", to: "/dev/null")
    try directory.link("plan.json", to: "real.json")
    let arguments = [
      "recommend", "--n", "64", "--heads", "1", "--strategy", "flash", "--threads", "1",
      "--budget", "5s", "--per-head", "--save",
    ]
    let before = try directory.tree()
    for path in ["nodir/plan.json", "/proc/plan.json", ".", "plan.json/x"] {
      let result = try AttnbenchProcess.run(arguments + [path], in: directory.root)
      #expect(result.code == 1 && result.output.isEmpty && result.errorLines.count == 1)
      #expect(result.error.hasPrefix("error: \(path): cannot write: "), "\(result.error)")
      #expect(try directory.tree() == before)
    }
    for path in ["null.json", "plan.json"] {
      let result = try AttnbenchProcess.run(arguments + [path], in: directory.root)
      let isMeasured = result.code == 0
      // Too busy a machine measures nothing: then no plan, and no exit code 0 either.
      #expect(isMeasured || result.error.contains("no plan was saved"), "\(result.error)")
      let exists = FileManager.default.fileExists(atPath: directory.path("real.json"))
      #expect(exists == (isMeasured && path == "plan.json"))
    }
    let null = try FileManager.default.attributesOfItem(atPath: "/dev/null")
    #expect(null[.type] as? FileAttributeType == .typeCharacterSpecial)
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: directory.path("plan.json"))
        == "real.json")
  }

  @Test("recommend --save without a plan is a failure that says so")
  func nothingToSave() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      [
        "recommend", "--n", "64", "--strategy", "flash", "--per-head", "--save", "plan.json",
        "--max-memory", "1KiB", "--budget", "1us",
      ], in: directory.root)
    #expect(result.code == 1, "\(result.output)")
    #expect(result.error.contains("--save plan.json: no plan was saved"), "\(result.error)")
    #expect(try directory.contents.isEmpty)
  }

  @Test(
    "commands that compute for long find a bad place first",
    arguments: [
      ["retrieve", "--n", "100k", "-o", "file/out"], ["retrieve", "--n", "100k", "-o", "/proc/x"],
      ["plot", "out", "-o", "file/out"], ["report", "out", "-o", "nodir/page.html"],
      ["mask", "--strategy", "flash", "-n", "8", "-o", "nodir/a.svg"],
      [
        "mask", "--inputs", "file", "--head", "0", "--strategy", "flash", "-o", "nodir/a.svg",
      ], ["sweep", "--n", "100k", "-o", "file/out"],
    ])
  func badPlaces(arguments: [String]) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try OutputFailureTests.results(directory)
    try directory.write("file", "")
    let before = try directory.tree()
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 1 && result.output.isEmpty && result.errorLines.count == 1)
    #expect(result.error.contains(arguments.last ?? ""), "\(result.error)")
    #expect(try directory.tree() == before)
  }

  @Test("a sweep that cannot begin leaves nothing behind")
  func sweepThatCannotBegin() throws {
    let arguments = [
      "sweep", "--n", "16", "--strategy", "flash", "--threads", "1", "--min-samples", "3",
      "--rel-ci", "90%", "-o", "a/b",
    ]
    // Every call until the description of the run is on disk; after that rows are kept.
    var calls: [String] = []
    var failures = 0
    while calls.last != "rename" {
      let directory = try TemporaryDirectory()
      defer { directory.remove() }
      let (result, call) = try FailingCalls.run(
        arguments, .error(ENOSPC), at: calls.count + 1, in: directory)
      calls.append(try #require(call))
      // That the name of a file is durable is let pass where a directory cannot be synchronised.
      guard result.code != 0 else { continue }
      failures += 1
      #expect(result.code == 1 && result.error.contains("No space left"), "\(result.error)")
      #expect(try directory.contents.isEmpty, "\(calls)")
    }
    #expect(calls.contains("mkdir") && calls.contains("fsync") && failures > 10, "\(calls)")
  }
}
