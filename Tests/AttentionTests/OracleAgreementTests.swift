import Attention
import AttentionTestSupport
import Foundation
import TensorFiles
import Testing

/// Every strategy computes what its own fp64 oracle says.
@Suite struct OracleAgreementTests {
  @Test(arguments: Specimen.all)
  func agreesOverShapes(_ specimen: Specimen) throws {
    for number in 0..<300 {
      let test = try TestCase(number)
      let inputs = test.inputs()
      let outputs = try specimen.run(test, inputs)
      ErrorGate.check(specimen, test.problem, inputs, outputs, test.description)
    }
  }

  @Test(arguments: Specimen.all)
  func agreesAtEveryTileEdge(_ specimen: Specimen) throws {
    for (number, length) in TileEdges.lengths.enumerated() {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 1, queryLength: length,
          keyLength: number % 3 == 0 ? TileEdges.lengths.reversed()[number] : length,
          headDim: 4, valueDim: 5), visibility: Visibility(causal: number % 2 == 0))
      let inputs = TestInputs(problem, seed: 1000 + number)
      let outputs = try specimen.run(problem, inputs, threads: 2)
      ErrorGate.check(specimen, problem, inputs, outputs, "\(problem.shape)")
    }
  }

  /// More keys than a segment of linear attention, more rows than a block of exact attention.
  @Test(arguments: Specimen.all, [(40, 4500), (700, 60), (1, 3000), (600, 600)])
  func agreesOnLongSequences(_ specimen: Specimen, _ lengths: (queries: Int, keys: Int)) throws {
    for causal in [false, true] {
      let problem = try AttentionProblem(
        AttentionShape(
          heads: 2, kvHeads: 1, queryLength: lengths.queries, keyLength: lengths.keys, headDim: 6,
          valueDim: 3), visibility: Visibility(causal: causal))
      let inputs = TestInputs(problem, seed: 21)
      let outputs = try specimen.run(problem, inputs, threads: 3)
      ErrorGate.check(specimen, problem, inputs, outputs, "\(lengths), causal \(causal)")
    }
  }

  @Test(arguments: Specimen.all, TestFill.allCases)
  func agreesOnHardScores(_ specimen: Specimen, _ fill: TestFill) throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 200, headDim: 24, valueDim: 9),
      visibility: Visibility(causal: fill != .normal))
    let inputs = TestInputs(problem, fill: fill, seed: 77)
    let outputs = try specimen.run(problem, inputs, threads: 2)
    ErrorGate.check(specimen, problem, inputs, outputs, fill.rawValue)
  }

  /// Two layers of a trained model on real text; see the fixture's README. One head a layer in
  /// full, with its logits up to 75.
  @Test(arguments: Specimen.all, ["layer0", "layer3"])
  func agreesOnRealTensors(_ specimen: Specimen, _ layer: String) throws {
    let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/real/minilm-n512-layers0and3.safetensors")
    let tensors = try AttentionInputs(TensorReference("\(file.path):\(layer)"))
    for head in [2, 8] {
      for causal in [false, true] {
        let problem = try AttentionProblem(
          AttentionShape(heads: 1, queryLength: 512, headDim: 32),
          visibility: Visibility(causal: causal))
        let inputs = TestInputs(
          query: cut(tensors.query, head: head), key: cut(tensors.key, head: head),
          value: cut(tensors.value, head: head))
        let outputs = try specimen.run(problem, inputs, threads: 2)
        ErrorGate.check(
          specimen, problem, inputs, outputs, "\(layer) head \(head), causal \(causal)")
      }
    }
  }

  /// One head of a `[h, n, d]` tensor as `[1, 1, n, d]`.
  private func cut(_ tensor: HostTensor, head: Int) -> TestTensor {
    let (rows, columns) = (tensor.shape[1], tensor.shape[2])
    let head = tensor.withUnsafeElements {
      Array($0[head * rows * columns..<(head + 1) * rows * columns])
    }
    guard let shape = try? TensorShape(1, 1, rows, columns) else {
      fatalError("a fixture with an impossible shape \(tensor.shape)")
    }
    let cut = TestTensor(shape)
    cut.fill { _, _, row, column in head[row * columns + column] }
    return cut
  }
}
