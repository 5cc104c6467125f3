import AttentionKernels
import Tensors

/// A size of an operand, as a letter of the problem's shape.
public enum OperandAxis: Sendable, Hashable {
  /// `b`, sequences of the batch.
  case batch
  /// `h`, query heads.
  case heads
  /// `hKV`, key/value heads.
  case kvHeads
  /// `nQ`, query rows.
  case queryLength
  /// `nKV`, key rows.
  case keyLength
  /// `d`, columns of queries and keys.
  case headDim
  /// `dV`, columns of values.
  case valueDim
  /// A size that no tensor of softmax attention has.
  case size(Int)
  /// The same where a parameter of the strategy says it, whose name stands for it.
  case parameter(String, Int)

  /// The size for a shape.
  public func size(in shape: AttentionShape) -> Int {
    switch self {
    case .batch: shape.batch
    case .heads: shape.heads
    case .kvHeads: shape.kvHeads
    case .queryLength: shape.queryLength
    case .keyLength: shape.keyLength
    case .headDim: shape.headDim
    case .valueDim: shape.valueDim
    case .size(let size), .parameter(_, let size): size
    }
  }

  /// The letter.
  public var letter: String {
    switch self {
    case .batch: "b"
    case .heads: "h"
    case .kvHeads: "hKV"
    case .queryLength: "nQ"
    case .keyLength: "nKV"
    case .headDim: "d"
    case .valueDim: "dV"
    case .size(let size): "\(size)"
    case .parameter(let name, _): name
    }
  }
}

/// An operand that a strategy takes beyond query, key and value: what it is called, its shape, what
/// it means, which values it may have and how random ones are drawn.
///
/// With that the harness makes it, reads it from files by its name, checks it and counts its bytes
/// like the others, without knowing the strategy.
public struct OperandDeclaration: Sendable {
  /// The name in code, files and messages, lower case: `decay`.
  public let name: String
  /// Its axes, one to four, the batch first. Weights, which all sequences of the batch share, have a size of 1
  /// in its place.
  public let axes: [OperandAxis]
  /// What it means, for people.
  public let meaning: String
  /// The values it may have.
  public let domain: ClosedRange<Float>
  /// Whether a run may leave it out.
  public let isOptional: Bool
  private let drawn: @Sendable (Double, AttentionShape) -> Float

  /// Declares an operand of fp32 elements.
  ///
  /// - Parameters:
  ///   - domain: the values it may have; NaN is in none.
  ///   - drawn: turns a number drawn uniformly from 0..<1 into a valid value.
  public init(
    _ name: String, axes: [OperandAxis], meaning: String, domain: ClosedRange<Float>,
    isOptional: Bool = false, drawn: @escaping @Sendable (Double) -> Float
  ) {
    self.init(
      name, axes: axes, meaning: meaning, domain: domain, isOptional: isOptional,
      drawnFor: { uniform, _ in drawn(uniform) })
  }

  /// Declares an operand of fp32 elements whose usual values depend on the shape.
  ///
  /// - Parameter drawn: turns a number drawn uniformly from 0..<1 into a valid value for a problem.
  public init(
    _ name: String, axes: [OperandAxis], meaning: String, domain: ClosedRange<Float>,
    isOptional: Bool = false, drawnFor drawn: @escaping @Sendable (Double, AttentionShape) -> Float
  ) {
    precondition((1...4).contains(axes.count), "an operand has one to four axes")
    self.name = name
    self.axes = axes
    self.meaning = meaning
    self.domain = domain
    self.isOptional = isOptional
    self.drawn = drawn
  }

  /// A random valid value for a problem from a number drawn uniformly from 0..<1.
  public func value(of uniform: Double, for shape: AttentionShape) -> Float {
    drawn(uniform, shape)
  }

  /// The shape in letters: `[b, hKV, nKV]`.
  public var letters: String { "[\(axes.map(\.letter).joined(separator: ", "))]" }

  /// Whether all sequences of a batch have it in common, however long they are.
  public var isShared: Bool {
    axes.allSatisfy { $0 != .batch && $0 != .queryLength && $0 != .keyLength }
  }

  /// The sizes for a problem's shape; of fewer than four axes the last ones are 1.
  ///
  /// - Throws: `AttentionError` when its bytes overflow.
  public func shape(in shape: AttentionShape) throws(AttentionError) -> TensorShape {
    // Asked for in every step of decoding, which allocates nothing.
    func size(_ axis: Int) -> Int { axis < axes.count ? axes[axis].size(in: shape) : 1 }
    return try TensorShape(size(0), size(1), size(2), size(3))
  }

  /// Refuses a tensor that is not of the declared shape and fp32.
  func check(_ view: TensorView, on problem: AttentionShape) throws(AttentionError) {
    let expected = try shape(in: problem)
    if view.shape != expected {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape,
        advice: "must be \(letters) = \(expected)")
    }
    if view.elementType != .float32 {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.elementType.rawValue,
        advice: "must be f32; convert it")
    }
  }

  /// Refuses a tensor with an element outside the domain, padding aside: what lies behind the lengths of
  /// sequences reaches nothing.
  ///
  /// - Parameter visibility: of the problem, whose lengths count.
  /// - Throws: `AttentionError` naming the first such element and its place.
  /// - Complexity: reads every element.
  public func checkValues(
    _ view: TensorView, under visibility: Visibility = Visibility()
  ) throws(AttentionError) {
    let lengths: [Int]? =
      switch axes.count > 2 ? axes[2] : nil {
      case .keyLength: visibility.keyLengths
      case .queryLength: visibility.queryLengths
      default: nil
      }
    for batch in 0..<view.shape.batch {
      let length = lengths.flatMap { batch < $0.count ? $0[batch] : nil } ?? .max
      for head in 0..<view.shape.heads {
        for row in 0..<min(view.shape.rows, length) {
          let elements = view.floats(batch, head, row)
          guard let column = elements.firstIndex(where: { !domain.contains($0) }) else { continue }
          throw AttentionError(
            .invalidArgument, argument: "\(name)[\(batch), \(head), \(row), \(column)]",
            value: elements[column],
            advice: "must be in \(domain.lowerBound)...\(domain.upperBound): \(meaning)")
        }
      }
    }
  }
}

extension [OperandDeclaration] {
  /// Refuses named operands that are missing, not declared, or of another shape.
  func check(
    _ named: [String: TensorView], on problem: AttentionShape
  ) throws(AttentionError) {
    var found = 0
    for declaration in self {
      if let view = named[declaration.name] {
        found += 1
        try declaration.check(view, on: problem)
      } else if !declaration.isOptional {
        throw AttentionError(
          .invalidArgument, argument: declaration.name, value: "missing",
          advice: "give \(declaration.letters): \(declaration.meaning)")
      }
    }
    if found == named.count { return }
    // In the order of names, so that the message does not depend on a hash.
    for name in named.keys.sorted() where !contains(where: { $0.name == name }) {
      throw AttentionError(
        .invalidArgument, argument: name, value: "given",
        advice: isEmpty
          ? "the strategy takes query, key and value alone; leave it out"
          : "the strategy takes \(map(\.name).joined(separator: ", ")); leave it out")
    }
  }

  /// Refuses fp32 operands that have an element outside of their domain. Runs do not look: this is for
  /// those who take tensors from others.
  ///
  /// - Parameter visibility: of the problem, whose lengths say what is padding.
  /// - Throws: `AttentionError` naming the first such element and its place.
  /// - Complexity: reads every element.
  public func checkValues(
    _ named: [String: TensorView], under visibility: Visibility = Visibility()
  ) throws(AttentionError) {
    for declaration in self {
      guard let view = named[declaration.name], view.elementType == .float32 else { continue }
      try declaration.checkValues(view, under: visibility)
    }
  }

  /// Bytes of the operands that a run must have.
  ///
  /// - Throws: `AttentionError` when they overflow.
  package func bytes(on problem: AttentionShape) throws(AttentionError) -> Int {
    var total = 0
    for declaration in self where !declaration.isOptional {
      total += ElementType.float32.bytes(try declaration.shape(in: problem))
    }
    return total
  }
}
