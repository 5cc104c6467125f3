import Foundation
import TensorFiles
import Testing

@Suite("attnbench run: scores")
struct RunScoresTests {
  /// The scores of the process's tensors, [2, 4, 5, 9], in the four stages, by their formulas.
  static func formula(_ tensors: TestTensors, softcap: Double) -> [[Double]] {
    let (q, k) = (tensors.query.elements.map(Double.init), tensors.key.elements.map(Double.init))
    var stages = [[Double]](repeating: [], count: 4)
    for row in 0..<2 * 4 * 5 {
      let (batch, head, i) = (row / 20, row / 5 % 4, row % 5)
      let raw = (0..<9).map { j in
        (0..<6).reduce(0.0) { $0 + q[row * 6 + $1] * k[((batch * 2 + head / 2) * 9 + j) * 6 + $1] }
          / 6.0.squareRoot()
      }
      let capped = raw.map { softcap * tanh($0 / softcap) }
      let masked = capped.enumerated().map { $0 <= i ? $1 : -.infinity }
      let sum = masked.reduce(0) { $0 + exp($1) }
      stages[0] += raw
      stages[1] += capped
      stages[2] += masked
      stages[3] += masked.map { exp($0) / sum }
    }
    return stages
  }

  @Test(
    "are those of the stage", arguments: 0..<4, ["full", "flash", "window(left: -1, right: 0)"])
  func stages(_ mode: Int, _ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let result = try process.run([
      "--strategy", strategy, "--causal", "--align", "top-left", "--softcap", "2", "--scores",
      "s.npy", "--scores-mode", "\(mode)",
    ])
    #expect(result.code == 0, "\(result.error)")
    let scores = try NpyFile.read(process.directory.path("s.npy"))
    #expect(scores.shape == [2, 4, 5, 9])
    expectClose(scores.elements, Self.formula(process.tensors, softcap: 2)[mode])
  }

  @Test("what has none is refused by name")
  func refusals() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let flash = ["--strategy", "flash"]
    try process.refuse(flash + ["--scores-mode", "1"], "--scores-mode 1: name the file")
    for mode in ["-1", "4"] {
      try process.refuse(
        flash + ["--scores", "s.npy", "--scores-mode", mode], "--scores-mode \(mode): must be 0")
    }
    try process.refuse(flash + ["--scores", "o.npy"], "--scores o.npy: is the output too")
    try process.refuse(
      ["--strategy", "linear", "--scores", "s.npy"], "--scores linear: computes no softmax")
    let packed = try RunProcess(query: [4, 14, 6], key: [2, 14, 6], value: [2, 14, 3])
    defer { packed.directory.remove() }
    try packed.refuse(
      flash + ["--cu-seqlens", "0,5,14", "--scores", "s.npy"], "--scores of packed sequences")
  }
}
