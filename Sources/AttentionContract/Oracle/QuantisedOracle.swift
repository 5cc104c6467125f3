import AttentionKernels
import Tensors

/// Softmax attention over keys and values as another element type holds them: the definition of a
/// strategy that stores them so.
///
/// A stored number is the nearest fp16 or bf16, or integer x scale with integer = x / scale rounded
/// to nearest, ties to even, and scale = (largest magnitude) / 127: of the row for `int8PerToken`, of
/// the column over the keys in use for `int8PerChannel`.
public struct QuantisedOracle: AttentionOracle {
  private let problem: AttentionProblem
  private let storage: ElementType
  private let softmax: any AttentionOracle

  /// An oracle for softmax under a pattern, over keys and values stored as `storage`, and then
  /// rounded to the operands of an arithmetic.
  ///
  /// - Parameter draw: as of `ScaledOracle`.
  public init(
    _ problem: AttentionProblem, storedAs storage: ElementType, operands: Arithmetic = .float32,
    draw: UInt64? = nil, pattern: (MaskGeometry) -> any KeyPattern
  ) {
    self.problem = problem
    self.storage = storage
    softmax =
      operands.hasRowScales
      ? ScaledOracle(problem, operands: operands, draw: draw, pattern: pattern)
      : SoftmaxOracle(problem, operands: operands, pattern: pattern)
  }

  /// - Complexity: O(nKV (d + dV)) a row, all keys of the head being stored for it.
  public func row(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> OracleRow {
    let kvHead = head / problem.shape.groupSize
    let (keys, values) = (stored(inputs.key, batch, kvHead), stored(inputs.value, batch, kvHead))
    return keys.withUnsafeBufferPointer { keys in
      values.withUnsafeBufferPointer { values in
        softmax.row(
          InputViews(
            query: inputs.query, key: TensorView(everyHead: keys, shape: inputs.key.shape),
            value: TensorView(everyHead: values, shape: inputs.value.shape)),
          batch: batch, head: head, row: row)
      }
    }
  }

  /// Storing keys differently hides none of them.
  public func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    softmax.keptKeys(inputs, batch: batch, head: head, row: row)
  }

  /// One head as its stored form stands for it.
  private func stored(_ view: TensorView, _ batch: Int, _ head: Int) -> [Float] {
    let columns = view.shape.columns
    let used = problem.geometry(batch: batch).keyLength
    var elements: [Float] = []
    elements.reserveCapacity(view.shape.rows * columns)
    for row in 0..<used {
      elements.append(
        contentsOf: UnsafeBufferPointer(start: view.row(batch, head, row), count: columns))
    }
    switch storage {
    case .float32: break
    case .float16: for i in elements.indices { elements[i] = Float(Float16(elements[i])) }
    case .bfloat16: for i in elements.indices { elements[i] = elements[i].roundedToBFloat16 }
    case .int8PerToken:
      for row in 0..<used {
        let places = row * columns..<(row + 1) * columns
        let scale = Self.scale(elements[places].lazy.map(abs).reduce(0, Self.larger))
        for i in places { elements[i] = Self.integer(elements[i], scale) * scale }
      }
    case .int8PerChannel:
      storeByColumn(&elements, columns: columns)
    }
    // Rows that are not in use are not read.
    elements.append(
      contentsOf: repeatElement(0, count: (view.shape.rows - used) * columns))
    return elements
  }

  /// Rows that are not finite take no part in the scales, and stay as they are.
  private func storeByColumn(_ elements: inout [Float], columns: Int) {
    var largest = [Float](repeating: 0, count: columns)
    let rows = stride(from: 0, to: elements.count, by: columns).filter { first in
      elements[first..<first + columns].allSatisfy(\.isFinite)
    }
    for first in rows {
      for column in 0..<columns {
        largest[column] = max(largest[column], abs(elements[first + column]))
      }
    }
    for first in rows {
      for column in 0..<columns {
        let scale = Self.scale(largest[column])
        elements[first + column] = Self.integer(elements[first + column], scale) * scale
      }
    }
  }

  private static func larger(_ a: Float, _ b: Float) -> Float { a.isNaN || a > b ? a : b }

  private static func scale(_ largest: Float) -> Float {
    if largest == 0 { return 0 }
    return largest.isFinite ? max(largest / 127, Float.leastNormalMagnitude) : .nan
  }

  private static func integer(_ x: Float, _ scale: Float) -> Float {
    scale == 0 ? 0 : (x / scale).rounded(.toNearestOrEven)
  }
}

extension TensorView {
  /// A view in which each head of each batch entry is the same `[rows, columns]` elements.
  init(everyHead elements: UnsafeBufferPointer<Float>, shape: TensorShape) {
    guard let base = elements.baseAddress else { preconditionFailure("a tensor has elements") }
    self.init(unchecked: base, .float32, shape: shape, strides: (0, 0, shape.columns))
  }
}
