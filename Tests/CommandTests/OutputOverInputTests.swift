import AttentionBench
import Foundation
import TensorFiles
import Testing

/// What a command reads is not what it replaces, by whatever name: only tensors may take the place of
/// tensors, in `run`.
@Suite("Outputs over inputs")
struct OutputOverInputTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    /// The output and the input, as the message has them.
    let output: String
    let input: String

    var testDescription: String { arguments.joined(separator: " ") }
  }

  private static func over(_ arguments: String, _ output: String, _ input: String) -> Case {
    Case(arguments: arguments.split(separator: " ").map(String.init), output: output, input: input)
  }

  static let cases = [
    over("report out -o out/results.csv", "out/results.csv", "out/results.csv"),
    over("report out -o out/samples.csv", "out/samples.csv", "out/samples.csv"),
    over("report out -o out/meta.json", "out/meta.json", "out/meta.json"),
    over(
      "report out -o ./other/../out/results.csv", "./other/../out/results.csv", "out/results.csv"),
    over("report out -o soft.csv", "soft.csv", "out/results.csv"),
    over("report out -o hard.csv", "hard.csv", "out/results.csv"),
    over("report out/ -o out/results.csv", "out/results.csv", "out//results.csv"),
    over("report choice.json -o choice.json", "choice.json", "choice.json"),
    over("report choice.json -o soft.html", "soft.html", "choice.json"),
    over("report choice.json --evaluation s.json -o s.json", "s.json", "s.json"),
    over("plan choice.json --max-total-error 1 --save choice.json", "choice.json", "choice.json"),
    over(
      "plan choice.json --max-total-error 1 --save ./choice.json", "./choice.json", "choice.json"),
    over("plan choice.json --max-total-error 1 --plot soft.svg", "soft.svg", "choice.json"),
    over(
      "plan choice.json --sensitivity s.json --max-loss-increase 1 --save s.json", "s.json",
      "s.json"),
    over(
      "recommend --inputs qkv.safetensors:layer7 --per-head --save qkv.safetensors",
      "qkv.safetensors", "qkv.safetensors"),
    over(
      "recommend --inputs qkv.safetensors --record soft.safetensors", "soft.safetensors",
      "qkv.safetensors"),
    over(
      "recommend --inputs m.safetensors --sensitivity s.json --record ./s.json", "./s.json",
      "s.json"),
    over("mask --plan choice.json -o soft.svg", "soft.svg", "choice.json"),
    over(
      "mask --inputs qkv.safetensors:layer7 --strategy flash -o soft.png", "soft.png",
      "qkv.safetensors"),
    over("mask --strategy flash -n 8 --query-offset off.npy -o off.svg", "off.svg", "off.npy"),
    over("plot out -o other --kind scaling", "other/scaling.svg", "out/results.csv"),
    over("plot out -o links --kind scaling", "links/fits.csv", "out/samples.csv"),
    over(
      "retrieve --n 64 --causal --query-offset off.npy -o other", "other/retrieval.csv", "off.npy"),
    over(
      "sweep --inputs qkv.safetensors --n 8 --strategy flash -o other", "other/meta.json",
      "qkv.safetensors"),
    over(
      "run --inputs qkv.safetensors --plan choice.json -o soft.npy", "soft.npy", "choice.json"),
  ]

  private func directory() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try OutputFailureTests.results(directory)
    try TestTensors().write(to: directory)
    let files = FileManager.default
    for name in ["other", "links"] {
      try files.createDirectory(atPath: directory.path(name), withIntermediateDirectories: false)
    }
    try NpyFile.write(
      try FileTensor(shape: [1], elementType: .integer(isSigned: true, byteWidth: 1)) {
        $0.initializeMemory(as: UInt8.self, repeating: 0)
      }, to: directory.path("off.npy"))
    for name in ["choice.json", "s.json", "m.safetensors"] { try directory.write(name, "{}") }
    try files.linkItem(
      atPath: directory.path("out/results.csv"), toPath: directory.path("hard.csv"))
    for (link, target) in [
      ("soft.csv", "out/results.csv"), ("soft.html", "choice.json"), ("soft.svg", "choice.json"),
      ("soft.npy", "choice.json"), ("soft.png", "qkv.safetensors"), ("off.svg", "off.npy"),
      ("soft.safetensors", "qkv.safetensors"), ("other/scaling.svg", "../out/results.csv"),
      ("links/fits.csv", "../out/samples.csv"), ("other/retrieval.csv", "../off.npy"),
      ("other/meta.json", "../qkv.safetensors"),
    ] { try directory.link(link, to: target) }
    return directory
  }

  @Test("are refused before anything is computed", arguments: cases)
  func refused(_ one: Case) throws {
    let directory = try directory()
    defer { directory.remove() }
    let before = try directory.tree()
    let result = try AttnbenchProcess.run(one.arguments, in: directory.root)
    #expect(result.code == 64, "\(result.error)")
    #expect(result.output.isEmpty && result.errorLines.count == 1, "\(result.error)")
    #expect(result.error.contains("error: \(one.output): is "), "\(result.error)")
    let named =
      one.input == one.output
      ? "an input of this command" : "the same file as the input \(one.input)"
    #expect(result.error.contains(named), "\(result.error)")
    #expect(result.error.contains("name another file"), "\(result.error)")
    #expect(try directory.tree() == before)
  }

  @Test("run may put tensors in the place of tensors")
  func tensors() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try OutputFailureTests.tensors(directory)
    let result = try AttnbenchProcess.run(
      OutputFailureTests.step + ["-o", "q.npy", "--present-k", "pk.npy", "--present-v", "pv.npy"],
      in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(try NpyFile.read(directory.path("pk.npy")).shape == [2, 18, 5])
  }

  @Test("what is no input of the command may be replaced")
  func others() throws {
    let directory = try directory()
    defer { directory.remove() }
    for arguments in [
      ["report", "out", "-o", "choice.json"],
      ["mask", "--strategy", "window(2)", "-n", "4", "-o", "off.svg"],
    ] {
      let result = try AttnbenchProcess.run(arguments, in: directory.root)
      #expect(result.code == 0, "\(result.error)")
    }
  }
}
