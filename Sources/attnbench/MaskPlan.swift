import Attention
import AttentionBench
import TensorFiles

/// `--plan` of `attnbench mask`: a strategy for each head, of one layer.
struct MaskPlan {
  let path: String
  /// The heads' strategies, in order.
  let strategies: [any AttentionStrategy]
  /// What the plan was measured on.
  let measured: HeadPlan.Problem
  /// The number of the layer in a plan for a model; nil in one for a single layer.
  let layer: Int?

  /// - Parameters:
  ///   - layer: of `--layer`.
  ///   - inputs: of `--inputs`, whose prefix may say the layer.
  /// - Throws: `RecordError`, `ChoiceFileError`, `UsageError` where nothing says the layer or the plan
  ///   has none.
  init(path: String, layer text: String?, inputs: String?) throws {
    self.path = path
    let number = try text.map { text in
      guard let number = Int(text), number >= 0 else {
        throw UsageError("--layer \(text): must be the number of a layer, from 0")
      }
      return number
    }
    switch try PlanFile(path: path) {
    case .heads(let plan):
      if let number {
        throw UsageError("--layer \(number): \(path) is a plan of one layer; leave it out")
      }
      layer = nil
      measured = plan.problem
      strategies = try plan.mix(path: path).strategies
    case .model(let plan):
      let prefix = try inputs.flatMap { try TensorReference($0).selector }
      guard let number = number ?? prefix.flatMap({ ModelLayer.number(of: $0) }) else {
        let numbers = plan.layers.map { "\($0.layer)" }.joined(separator: ", ")
        throw UsageError(
          "--plan \(path): is for the layers \(numbers) of a model; say which with --layer N")
      }
      layer = number
      measured = try plan.measured(ofLayer: number, path: path)
      strategies = try plan.mix(ofLayer: number, path: path).strategies
    }
  }

  /// `plan.json, layer 4`.
  var name: String { path + (layer.map { ", layer \($0)" } ?? "") }

  /// The problem that is drawn where there are no tensors: at `-n`, or at the plan's own lengths.
  ///
  /// - Throws: `UsageError` for a length that the plan does not hold at, `AttentionError`.
  func problem(n: Int?) throws -> AttentionProblem {
    if let n, layer == nil, n != measured.queryLength || n != measured.keyLength {
      throw UsageError(
        "-n \(n): \(path) holds for \(measured.queryLength) queries on \(measured.keyLength) keys "
          + "only; leave -n out")
    }
    return try measured.attention(
      on: AttentionShape(
        heads: measured.heads, kvHeads: measured.kvHeads, queryLength: n ?? measured.queryLength,
        keyLength: n ?? measured.keyLength, headDim: measured.headDim,
        valueDim: measured.valueDim))
  }
}
