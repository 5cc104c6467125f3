import Attention
import AttentionBench
import TensorFiles

/// One problem whose choices are checked.
struct Work {
  let name: String
  let inputs: SweepInputs
  let problem: AttentionProblem

  /// Made-up tensors; the shapes are none of those that tests and examples use.
  static func madeUp(quick: Bool, seed: UInt64) throws -> [Work] {
    let shapes: [(n: Int, heads: Int, kvHeads: Int, d: Int, causal: Bool)] = [
      (900, 4, 4, 64, false),
      (1700, 6, 2, 72, true),
      (2600, 4, 4, 64, true),
      (2048, 2, 1, 128, false),
      (3300, 4, 4, 80, false),
      (5000, 8, 2, 32, true),
      (7000, 3, 3, 96, true),
    ]
    return try shapes.prefix(quick ? 2 : shapes.count).map { entry in
      let shape = try AttentionShape(
        heads: entry.heads, kvHeads: entry.kvHeads, queryLength: entry.n, headDim: entry.d)
      let problem = try AttentionProblem(shape, visibility: Visibility(causal: entry.causal))
      return Work(
        name: "made up, \(problem.summary)",
        inputs: .tensors(try StructuredTensors.make(shape, seed: seed)), problem: problem)
    }
  }

  /// Tensors of a file, as `FILE.safetensors:PREFIX`.
  static func real(_ argument: String, causal: Bool = false) throws -> Work {
    let reference = try TensorReference(argument)
    let tensors = try AttentionInputs(reference)
    let file = try FileProblem(
      query: FileProblem.Source(tensors.query, name: argument),
      key: FileProblem.Source(tensors.key, name: argument),
      value: FileProblem.Source(tensors.value, name: argument))
    let problem = try AttentionProblem(
      file.shape(n: file.rows), visibility: Visibility(causal: causal))
    let path = argument.split(separator: "/").last.map(String.init) ?? argument
    return Work(name: "\(path), \(problem.summary)", inputs: .tensors(file), problem: problem)
  }
}
