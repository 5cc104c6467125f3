import Attention
import Records
import Statistics
import TensorFiles
import Units

/// A mask or a bias read from a file, and the words that name it in messages.
///
/// Its axes are aligned with those of `[b, h, nQ, nKV]` from the last one on, as NumPy does it: rank
/// 2 is `[nQ, nKV]`, rank 3 `[h, nQ, nKV]`. An axis of size 1 serves all; a last axis that is longer
/// than 1 and shorter than the keys hides the rest.
public struct FileMask: Sendable {
  private let source: FileProblem.Source
  private var tensor: FileTensor { source.tensor }
  private var name: String { source.name }

  /// Names a tensor of truth values or floating-point numbers.
  public init(_ tensor: FileTensor, name: String) {
    source = FileProblem.Source(tensor, name: name)
  }

  /// Whether it holds truth values.
  public var isBoolean: Bool { tensor.elementType == .bool }

  /// The mask it is for a problem: not 0 where a query may see a key.
  ///
  /// - Throws: `FileProblemError` when it does not stand for that shape.
  public func mask(for shape: AttentionShape) throws(FileProblemError) -> BroadcastTensor<UInt8> {
    guard isBoolean else {
      throw FileProblemError(source: name, problem: "does not hold truth values")
    }
    return try tensor.withUnsafeBytes { bytes throws(FileProblemError) in
      try broadcast(bytes.bindMemory(to: UInt8.self), for: shape)
    }
  }

  /// The bias it is for a problem. A finite number is one, however large: what fp32 has no room for
  /// becomes its largest number, for an infinite one would hide the key.
  ///
  /// - Throws: `FileProblemError` when it does not stand for that shape, or a failed allocation.
  public func bias(for shape: AttentionShape) throws -> BroadcastTensor<Float> {
    try source.floats(.saturated).withUnsafeElements { try broadcast($0, for: shape) }
  }

  /// The bias it is for a problem, one number a key: `[b, h, nKV]`, `[b, hKV, nKV]` or shorter from the
  /// front, where an axis of size 1 serves all. Finite numbers stay finite, as in `bias`.
  ///
  /// - Throws: `FileProblemError` when it does not stand for that shape or holds NaN or +infinity, or a
  ///   failed allocation.
  public func keyBias(for problem: AttentionShape) throws -> BroadcastTensor<Float> {
    let floats = try source.floats(.saturated)
    let sizes = [Int](repeating: 1, count: max(0, 3 - tensor.shape.count)) + tensor.shape
    let fits =
      sizes.count == 3 && [1, problem.batch].contains(sizes[0])
      && [1, problem.kvHeads, problem.heads].contains(sizes[1]) && sizes[2] == problem.keyLength
    guard fits else {
      throw FileProblemError(
        source: name,
        problem: "has shape \(tensor.shape); it must be [b, hKV or h, nKV] = "
          + "[\(problem.batch), \(problem.kvHeads) or \(problem.heads), \(problem.keyLength)], "
          + "one number a key")
    }
    return try floats.withUnsafeElements { elements in
      if let index = elements.firstIndex(where: { !($0 < .infinity) }) {
        let place = [index / sizes[2] / sizes[1], index / sizes[2] % sizes[1], index % sizes[2]]
        throw FileProblemError(
          source: name,
          problem: "is \(elements[index]) at \(place); it must be finite, or -inf to hide a key")
      }
      // Key/value heads serve groups of query heads.
      let isGrouped = ![1, problem.heads].contains(sizes[1])
      let heads = isGrouped ? problem.heads : sizes[1]
      let shape = try TensorShape(sizes[0], heads, 1, sizes[2])
      return BroadcastTensor(shape) { target in
        for row in 0..<sizes[0] * heads {
          let (batch, head) = row.quotientAndRemainder(dividingBy: heads)
          let from = batch * sizes[1] + (isGrouped ? head / problem.groupSize : head)
          for key in 0..<sizes[2] {
            target[row * sizes[2] + key] = elements[from * sizes[2] + key]
          }
        }
      }
    }
  }

  private func broadcast<Element>(
    _ elements: UnsafeBufferPointer<Element>, for problem: AttentionShape
  ) throws(FileProblemError) -> BroadcastTensor<Element> {
    let full = [problem.batch, problem.heads, problem.queryLength, problem.keyLength]
    let sizes = [Int](repeating: 1, count: max(0, 4 - tensor.shape.count)) + tensor.shape
    let fits =
      sizes.count == 4 && (1...full[3]).contains(sizes[3])
      && zip(sizes, full).prefix(3).allSatisfy { $0 == 1 || $0 == $1 }
    guard fits else {
      throw FileProblemError(
        source: name,
        problem: "has shape \(tensor.shape); it must broadcast to [b, h, nQ, nKV] = \(full), its "
          + "last axis may be shorter")
    }
    let isRepeated = sizes[3] == 1
    let shape: TensorShape
    do throws(AttentionError) {
      shape = try TensorShape(sizes[0], sizes[1], sizes[2], isRepeated ? full[3] : sizes[3])
    } catch {
      throw FileProblemError(source: name, problem: "\(error)")
    }
    return BroadcastTensor(shape) { target in
      if isRepeated {
        for (row, element) in elements.enumerated() {
          target[(row * full[3])..<((row + 1) * full[3])].update(repeating: element)
        }
      } else {
        _ = target.update(fromContentsOf: elements)
      }
    }
  }
}

extension ProblemSettings {
  /// Adds a bias to the one that is there; a key that one of them hides is hidden. A sum of finite
  /// numbers stays finite: an infinite one would hide.
  ///
  /// - Throws: `AttentionError` when the sum has too many elements.
  public mutating func add(bias other: BroadcastTensor<Float>) throws(AttentionError) {
    guard let first = visibility.bias else {
      visibility.bias = other
      return
    }
    let shape = try TensorShape(
      max(first.shape.batch, other.shape.batch), max(first.shape.heads, other.shape.heads),
      max(first.shape.rows, other.shape.rows), min(first.shape.columns, other.shape.columns))
    visibility.bias = BroadcastTensor(shape) { target in
      var index = 0
      for batch in 0..<shape.batch {
        for head in 0..<shape.heads {
          for row in 0..<shape.rows {
            let (a, b) = (first.row(batch, head, row), other.row(batch, head, row))
            for column in 0..<shape.columns {
              let limit = Float.greatestFiniteMagnitude
              let sum = a[column] + b[column]
              target[index] =
                a[column].isFinite && b[column].isFinite ? min(max(sum, -limit), limit) : sum
              index += 1
            }
          }
        }
      }
    }
  }
}
