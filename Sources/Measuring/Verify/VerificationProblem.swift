import Attention
import Records
import Statistics
import Units

/// A problem to verify strategies on, and where its tensors come from.
public struct VerificationProblem: Sendable, CustomStringConvertible {
  /// Where query, key and value come from.
  public enum Source: Sendable {
    /// Standard normal numbers.
    case random(seed: UInt64)
    /// Tensors read from a file; operands that it lacks are drawn, where a seed says so.
    case file(FileProblem, seed: UInt64? = nil)
  }

  /// What to compute.
  public let problem: AttentionProblem
  /// On what.
  public let source: Source
  /// Where the tensors come from, for people: `random`, `minilm.safetensors:layer0`.
  public let name: String

  public init(_ problem: AttentionProblem, source: Source, name: String) {
    self.problem = problem
    self.source = source
    self.name = name
  }

  /// The same problem on tensors of other element types.
  ///
  /// - Throws: `AttentionError` when queries would be stored as integers.
  public func storing(_ elements: Storage) throws(AttentionError) -> VerificationProblem {
    VerificationProblem(try problem.storing(elements), source: source, name: name)
  }

  /// Makes query, key and value, in fp32, and the operands that a strategy declares beside them.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory, or the file lacks an operand.
  public func tensors(
    _ operands: [OperandDeclaration] = []
  ) throws(AttentionError) -> ProblemTensors {
    let tensors =
      switch source {
      case .random(let seed): try ProblemTensors(random: problem.shape, seed: seed)
      case .file(let file, _): try file.tensors()
      }
    return try adding(operands, to: tensors)
  }

  /// The same tensors with the operands that a strategy declares beside them.
  ///
  /// - Throws: as `tensors(_:)`.
  public func adding(
    _ operands: [OperandDeclaration], to tensors: ProblemTensors
  ) throws(AttentionError) -> ProblemTensors {
    switch source {
    case .random(let seed): tensors.with(try operands.random(for: problem.shape, seed: seed))
    case .file(let file, let seed):
      try tensors.with(file.operands(operands, for: problem.shape, drawingMissing: seed))
    }
  }

  /// The name and the sizes in one line: `random b2 h6/3 n33x129 d17/5 causal +7`.
  public var description: String { "\(name) \(problem.summary)" }
}

extension VerificationProblem {
  /// Small problems that try what large ones rarely meet: lengths of one and around the panels, odd
  /// dimensions, value dimensions of their own, grouped heads, cross-attention, both corners,
  /// offsets that leave rows without keys.
  ///
  /// - Throws: `AttentionError`, if a generated shape were refused.
  public static func randomShapes(
    count: Int, seed: UInt64
  ) throws(AttentionError) -> [VerificationProblem] {
    var generator = SeededGenerator(seed: seed)
    func pick(_ values: [Int]) -> Int { values.randomElement(using: &generator) ?? 1 }
    var problems: [VerificationProblem] = []
    for index in 0..<count {
      // Self-attention and cross-attention in turn, each both causal and not.
      let kvHeads = pick([1, 2, 3])
      let n = pick([1, 2, 31, 48, 97, 128, 129, 200])
      let shape = try AttentionShape(
        batch: pick([1, 1, 2]), heads: kvHeads * pick([1, 1, 2, 4]), kvHeads: kvHeads,
        queryLength: n, keyLength: index.isMultiple(of: 2) ? n : pick([1, 7, 64, 150, 333]),
        headDim: pick([1, 3, 16, 33, 64, 80, 128, 131]),
        valueDim: pick([1, 5, 16, 47, 64, 96, 128]))
      let offsets: [QueryOffset] = [
        .bottomRight, .topLeft, .fixed(pick([-40, -3, 5, 60])),
        .perBatch((0..<shape.batch).map { _ in pick([-2, 0, 9]) }),
      ]
      // Every fifth with padding after the keys.
      let keyLengths = (0..<shape.batch).map { _ in
        Int.random(in: 0...shape.keyLength, using: &generator)
      }
      let problem = try AttentionProblem(
        shape,
        visibility: Visibility(
          causal: index / 2 % 2 == 1,
          offset: offsets.randomElement(using: &generator) ?? .bottomRight,
          keyLengths: index % 5 == 4 ? keyLengths : nil))
      problems.append(
        VerificationProblem(problem, source: .random(seed: generator.next()), name: "random"))
    }
    return problems
  }
}
