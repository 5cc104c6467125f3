import AttentionKernels
import RealModule
import Tensors

/// Softmax attention over operands whose rows have scales: the definition of `fp16` and `int8` arithmetic.
///
/// Queries and keys are taken less their means (`SampledMean`); what the means contribute to scores is added
/// without rounding. For integers both are mixed by an orthogonal matrix, which changes no product. An element is
/// then the nearest fp16 number to its share of the largest in its row, or the nearest integer to 127 times it;
/// rows of values have powers of 2^(1/8) for scales. A row that is not finite is NaN.
public struct ScaledOracle: AttentionOracle {
  private let problem: AttentionProblem
  private let operands: Arithmetic
  private let draw: UInt64?
  private let patterns: [any KeyPattern]

  /// - Parameter draw: the seed of roundings of sums and weights that are drawn at random; nil for none.
  public init(
    _ problem: AttentionProblem, operands: Arithmetic, draw: UInt64? = nil,
    pattern: (MaskGeometry) -> any KeyPattern
  ) {
    self.problem = problem
    self.operands = operands
    self.draw = draw
    patterns = (0..<problem.shape.batch).map { pattern(problem.geometry(batch: $0)) }
  }

  public func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    prepared(inputs, batch: batch, head: head).row(inputs, batch: batch, head: head, row: row)
  }

  public func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle {
    ScaledHead(problem, operands, draw: draw, inputs, batch: batch, head: head) { patterns[batch] }
  }

  public func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    SoftmaxOracle(problem) { _ in patterns[batch] }
      .keptKeys(inputs, batch: batch, head: head, row: row)
  }
}

/// One head with its keys and values as they are multiplied.
private struct ScaledHead: AttentionOracle {
  private let shape: AttentionShape
  /// What values are multiplied in.
  private let ofValues: Arithmetic
  private let draw: UInt64?
  private let softmax: SoftmaxOracle
  /// `[nKV, dV]`.
  private let values: [Float]
  /// `[nKV]` natural logarithms of the scales of values.
  private let valueScales: [Double]

  init(
    _ problem: AttentionProblem, _ operands: Arithmetic, draw: UInt64?, _ inputs: InputViews,
    batch: Int, head: Int, pattern: () -> any KeyPattern
  ) {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let geometry = problem.geometry(batch: batch)
    self.shape = shape
    ofValues = OperandFormat(operands, in: .active).ofValues
    self.draw = draw
    var (values, valueScales): ([Float], [Double]) = ([], [])
    for row in 0..<shape.keyLength {
      let elements = Array(
        UnsafeBufferPointer(start: inputs.value.row(batch, kvHead, row), count: shape.valueDim))
      let scaled = ofValues.value(row < geometry.keyLength ? elements : elements.map { _ in 0 })
      values += scaled.elements
      valueScales.append(scaled.logarithm)
    }
    self.values = values
    self.valueScales = valueScales

    let queryMean = Self.mean(
      of: inputs.query, batch, kvHead * shape.groupSize..<(kvHead + 1) * shape.groupSize,
      geometry.queryLength)
    let ownMean = Self.mean(of: inputs.key, batch, kvHead..<kvHead + 1, geometry.keyLength)
    let keyMean = problem.scoring.softcap == nil ? ownMean : ownMean.map { _ in 0 }
    let keys = (0..<geometry.keyLength).map { row in
      let key = UnsafeBufferPointer(start: inputs.key.row(batch, kvHead, row), count: shape.headDim)
      let centred = zip(key, keyMean).map { $0 - $1 }
      return (
        operands.rounded(centred, isKey: true),
        zip(centred, queryMean).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      )
    }
    let scale = Double(problem.scale)
    softmax = SoftmaxOracle(problem) { inputs, batch, head, row in
      let query = UnsafeBufferPointer(
        start: inputs.query.row(batch, head, row), count: shape.headDim)
      let own = operands.rounded(zip(query, queryMean).map { $0 - $1 }, isKey: false)
      let shift = zip(query, keyMean).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      let noise = draw.map { SumNoise(seed: $0, row: row, head: head, columns: shape.headDim) }
      return { key in
        let (other, keyShift) = keys[key]
        let sum = own.numbers.withUnsafeBufferPointer { a in
          other.numbers.withUnsafeBufferPointer { b -> Double in
            guard let a = a.baseAddress, let b = b.baseAddress else { return 0 }
            if let noise, operands == .float16 { return noise.sum(a, b) }
            return dot(a, b, shape.headDim)
          }
        }
        return scale * (sum * own.scale * other.scale + keyShift + shift)
      }
    } pattern: { _ in
      pattern()
    }
  }

  private static func mean(
    of view: TensorView, _ batch: Int, _ heads: Range<Int>, _ count: Int
  ) -> [Float] {
    let columns = view.shape.columns
    return [Float](unsafeUninitializedCapacity: columns) { buffer, initialized in
      guard let base = buffer.baseAddress else { return }
      withUnsafeTemporaryAllocation(of: Int32.self, capacity: SampledMean.scratchCount) { scratch in
        guard let scratch = scratch.baseAddress else { return }
        SampledMean.take(into: base, columns: columns, scratch: scratch) { body in
          for head in heads {
            for row in SampledMean.rows(of: count) { body(view.row(batch, head, row)) }
          }
        }
      }
      initialized = columns
    }
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    let plain = values.withUnsafeBufferPointer { values in
      softmax.row(
        InputViews(
          query: inputs.query, key: inputs.key,
          value: TensorView(everyHead: values, shape: inputs.value.shape), named: inputs.named),
        batch: batch, head: head, row: row)
    }
    guard let draw, plain.logSumExp.isFinite else { return plain }
    var output = [Double](repeating: 0, count: shape.valueDim)
    var generator = WeightNoise(seed: draw, row: row, head: head)
    let scores = softmax.scores(inputs, batch: batch, head: head, row: row)
    for first in stride(from: 0, to: scores.count, by: WeightNoise.blockKeys) {
      let block = scores[first..<min(first + WeightNoise.blockKeys, scores.count)]
      generator.add(
        block.map {
          (weight: $0.score + valueScales[$0.key], row: $0.key, scale: valueScales[$0.key])
        },
        values, columns: shape.valueDim, ofValues, relativeTo: plain.logSumExp, to: &output)
    }
    return OracleRow(output: output, logSumExp: plain.logSumExp)
  }
}

extension Arithmetic {
  /// A row of queries or keys: numbers that are multiplied, and their scale.
  fileprivate func rounded(_ row: [Float], isKey: Bool) -> (numbers: [Float], scale: Double) {
    let limit: Float = self == .float16 ? 1 : 127
    let (row, unit) = self == .float16 ? (row, 1) : mixed(row, isKey: isKey)
    guard let largest = magnitude(row) else {
      return (row.map { _ in 0 }, .nan)
    }
    let factor = limit / largest
    if !factor.isFinite { return (row.map { _ in 0 }, 0) }
    return (
      row.map { nearest($0 * factor, isHalf: self == .float16) },
      Double(largest) / Double(limit) * unit
    )
  }

  /// A row times an orthogonal matrix, the same for queries and keys but for powers of two: Hadamard's, in the largest
  /// blocks of a power of two of columns. Element by element as kernels add, so that roundings to integers
  /// are theirs.
  private func mixed(_ row: [Float], isKey: Bool) -> (row: [Float], unit: Double) {
    func block(_ columns: Int) -> Int {
      columns < 16 ? 0 : Int.bitWidth - 1 - columns.leadingZeroBitCount
    }
    if row.count > 1024 { return (row, 1) }
    let largest = block(row.count)
    let unit = isKey ? (largest + 1) / 2 : largest / 2
    var (out, first) = (row, 0)
    while first < row.count {
      let order = block(row.count - first)
      let end = order == 0 ? row.count : first + 1 << order
      let factor = 1 / Float(1 << (unit + (isKey ? order / 2 : (order + 1) / 2)))
      for column in first..<end { out[column] *= factor }
      for step in 0..<order {
        let distance = 1 << step
        for column in first..<end where (column - first) & distance == 0 {
          let (low, high) = (out[column], out[column + distance])
          (out[column], out[column + distance]) = (low + high, low - high)
        }
      }
      first = end
    }
    return (out, Double(1 << unit))
  }

  /// A row of values as it counts, and the natural logarithm of what its elements are fractions of.
  fileprivate func value(_ row: [Float]) -> (elements: [Float], logarithm: Double) {
    guard let largest = magnitude(row) else { return (row.map { _ in .nan }, 0) }
    if self == .float32 { return (row, 0) }
    let bits = Float(Int32(bitPattern: largest.bitPattern &- 0x3F80_0000)) * 0x1p-23 + 0.0861
    let grains = max((bits * 8).rounded(.up), -118 * 8)
    let logarithm = Double(grains) / 8 * Double.log(2)
    let isHalf = self != .int8
    let limit = isHalf ? 1.0 : 127
    let scale = Double.exp(logarithm) / limit
    return (
      row.map { Float(Double(nearest(Float(Double($0) / scale), isHalf: isHalf)) * scale) },
      logarithm
    )
  }

  private func magnitude(_ row: [Float]) -> Float? {
    row.allSatisfy(\.isFinite) ? row.lazy.map(abs).max() ?? 0 : nil
  }

  private func nearest(_ x: Float, isHalf: Bool) -> Float {
    isHalf ? Float(Float16(x)) : x.rounded(.toNearestOrEven)
  }
}

/// Sums of products in fp16, in an order that is drawn at random.
private struct SumNoise {
  private let order: [Int]
  /// Terms that are added up one by one before their sum is added to the others.
  private static let terms = 16

  init(seed: UInt64, row: Int, head: Int, columns: Int) {
    var generator = SplitMix(seed &+ UInt64(row) &* 0x9E37 &+ UInt64(head) &* 0xC2B2_AE35)
    order = Array(0..<columns).shuffled(using: &generator)
  }

  func sum(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>) -> Double {
    var total: Float16 = 0
    for first in stride(from: 0, to: order.count, by: Self.terms) {
      var halves: (Float16, Float16) = (0, 0)
      for (place, column) in order[first..<min(first + Self.terms, order.count)].enumerated() {
        let product = Double(a[column]) * Double(b[column])
        if place % 2 == 0 {
          halves.0 = Float16(Double(halves.0) + product)
        } else {
          halves.1 = Float16(Double(halves.1) + product)
        }
      }
      total += halves.0 + halves.1
    }
    return Double(total)
  }
}

/// Weights of a block of keys, rounded at random, and what they add up to.
private struct WeightNoise {
  static let blockKeys = 128
  private var generator: SplitMix

  init(seed: UInt64, row: Int, head: Int) {
    generator = SplitMix(seed &* 31 &+ UInt64(row) &* 0x85EB &+ UInt64(head) &* 0x27D4_EB2F)
  }

  mutating func add(
    _ keys: [(weight: Double, row: Int, scale: Double)], _ values: [Float], columns: Int,
    _ ofValues: Arithmetic, relativeTo logSumExp: Double, to output: inout [Double]
  ) {
    guard let peak = keys.map(\.weight).max(), peak > -.infinity else { return }
    let isHalf = ofValues == .float16
    // As many products of weights up to 1 and values up to 1 as there are keys.
    let rounded = keys.map { key in
      let exact = Double.exp(key.weight - peak)
      let unit =
        switch ofValues {
        case .int8: 8e-5 * exact + 1 / 510
        case .float16: 0x1p-11 * exact + 0x1p-33
        case .float32, .bfloat16, .int8Scores: 8e-5 * exact
        }
      return exact + unit * Double.random(in: -1...1, using: &generator)
    }
    let share = Double.exp(peak - logSumExp)
    let order = isHalf ? Array(keys.indices).shuffled(using: &generator) : []
    for column in 0..<columns {
      var sum = 0.0
      if isHalf {
        var halves: (Float16, Float16) = (0, 0)
        for (place, index) in order.enumerated() {
          let value = Double(values[keys[index].row * columns + column])
          let product = rounded[index] * value / Double.exp(keys[index].scale)
          if place % 2 == 0 {
            halves.0 = Float16(Double(halves.0) + product)
          } else {
            halves.1 = Float16(Double(halves.1) + product)
          }
        }
        sum = Double(halves.0 + halves.1)
      } else {
        for (index, key) in keys.enumerated() {
          sum += rounded[index] * Double(values[key.row * columns + column]) / Double.exp(key.scale)
        }
      }
      output[column] += sum * share
    }
  }
}

/// Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
private struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
