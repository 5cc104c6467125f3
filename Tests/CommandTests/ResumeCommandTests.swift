import Foundation
import Testing

/// `--resume` mixes nothing that does not belong together, unless it is forced to.
@Suite("Resuming")
struct ResumeCommandTests {
  private static let plain = ["sweep", "--n", "16", "--strategy", "flash", "--threads", "1"]

  /// Runs a sweep, then `change`, then resumes it with `arguments`.
  private func resume(
    _ arguments: [String] = plain, first: [String] = plain,
    environment: [String: String] = [:], change: (TemporaryDirectory) throws -> Void = { _ in }
  ) throws -> (refused: AttnbenchProcess.Result, forced: AttnbenchProcess.Result) {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(n: 20).write(to: directory)
    #expect(try SweepProcess.finish(first, in: directory.root).code == 0)
    try change(directory)
    func again(_ more: [String]) throws -> AttnbenchProcess.Result {
      try AttnbenchProcess.run(
        arguments + ["-o", "out", "--resume"] + more,
        environment: environment.merging(["PATH": "/nowhere"]) { given, _ in given },
        in: directory.root)
    }
    return (try again([]), try again(["--force"]))
  }

  @Test("Another instruction set, option or commit is refused by name, and --force mixes")
  func differences() throws {
    let cases: [([String], [String: String], String)] = [
      (Self.plain, ["ATTNBENCH_ISA": "portable"], "instruction set was "),
      (Self.plain + ["--causal"], [:], "--causal was false, is true"),
      (Self.plain + ["--seed", "7"], [:], "seed was 1, is 7"),
      (Self.plain, ["ATTNBENCH_COMMIT": "feed"], "commit was "),
    ]
    for (arguments, environment, text) in cases {
      let (refused, forced) = try resume(arguments, environment: environment)
      #expect(refused.code == 1)
      #expect(refused.error.contains("error: out cannot be resumed: "), "\(refused.error)")
      #expect(refused.error.contains(text), "\(refused.error)")
      #expect(forced.code == 0, "\(forced.error)")
      #expect(forced.error.contains("warning: resumed although "))
    }
  }

  private static let file = plain + ["--inputs", "qkv.safetensors"]

  @Test("A file of tensors is known by its bytes, not by its name")
  func inputs() throws {
    let changed = try resume(Self.file, first: Self.file) { directory in
      let path = URL(fileURLWithPath: directory.path("qkv.safetensors"))
      var data = try Data(contentsOf: path)
      data[data.endIndex - 1] ^= 1
      try data.write(to: path)
    }
    #expect(changed.refused.code == 1)
    #expect(changed.refused.error.contains("inputs was "), "\(changed.refused.error)")
    #expect(changed.refused.error.contains("CRC-32"))
    #expect(changed.forced.code == 0, "\(changed.forced.error)")

    let renamed = try resume(Self.plain + ["--inputs", "copy.safetensors"], first: Self.file) {
      try FileManager.default.copyItem(
        atPath: $0.path("qkv.safetensors"), toPath: $0.path("copy.safetensors"))
    }
    #expect(renamed.refused.code == 0, "\(renamed.refused.error)")

    let prefix = try resume(Self.plain + ["--inputs", "qkv.safetensors:layer7"], first: Self.file)
    #expect(prefix.refused.error.contains("prefix 'layer7'"), "\(prefix.refused.error)")
    let random = try resume(Self.plain, first: Self.file)
    #expect(random.refused.error.contains("is random"), "\(random.refused.error)")
  }

  @Test("Another build of the same commit is another program")
  func build() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let program = directory.path("attnbench")
    try FileManager.default.copyItem(atPath: AttnbenchProcess.executable, toPath: program)
    let arguments = Self.plain.joined(separator: " ") + " -o out"
    let line = "PATH=/nowhere ./attnbench \(arguments)"
    let first = try AttnbenchProcess.shell(line, in: directory.root)
    #expect(first.code == 0, "\(first.error)")
    let same = try AttnbenchProcess.shell(line + " --resume", in: directory.root)
    #expect(same.code == 0, "\(same.error)")
    // Bytes behind the end change no code, only the program's identity.
    let other = try AttnbenchProcess.shell(
      "echo >> attnbench; \(line) --resume", in: directory.root)
    #expect(other.code == 1)
    #expect(other.error.contains("program was "), "\(other.error)")
  }

  @Test("A dry run of a resume shows what is kept and what would run")
  func dryRun() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    #expect(try SweepProcess.finish(Self.plain, in: directory.root).code == 0)
    let before = try FileManager.default.contentsOfDirectory(atPath: directory.path("out")).sorted()
    let result = try SweepProcess.finish(
      ["sweep", "--n", "16,32", "--strategy", "flash", "--threads", "1", "--resume", "--dry-run"],
      in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("kept: "))
    #expect(result.output.contains("1 of 2 cells would run"), "\(result.output)")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: directory.path("out")).sorted() == before)
  }
}
