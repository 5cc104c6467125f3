import AttentionKernels
import Tensors

/// What all caches do alike: check the rows that arrive, convert them, keep the channels' scales.
final class CacheRows {
  let shape: CacheShape
  let key: RowFormat
  let value: RowFormat
  private let keyScales: CalibratedScales
  private let valueScales: CalibratedScales
  /// Whether the scales were given for good.
  private let scalesAreGiven: Bool
  /// A row widened to fp32.
  private let wide: AlignedFloats

  /// - Throws: `AttentionError` when scales do not fit or memory is refused.
  init(
    _ shape: CacheShape, _ elementType: ElementType, scales: ChannelScales?
  ) throws(AttentionError) {
    if scales != nil, elementType != .int8PerChannel {
      throw AttentionError(
        .invalidArgument, argument: "channelScales", value: "given",
        advice: "only int8-channel caches have them; this one is \(elementType.rawValue)")
    }
    try scales?.check(against: shape)
    let batch = elementType == .int8PerChannel ? shape.batch : 0
    let keyScales = try CalibratedScales(
      batch: batch, heads: shape.kvHeads, columns: shape.headDim)
    let valueScales = try CalibratedScales(
      batch: batch, heads: shape.kvHeads, columns: shape.valueDim)
    let wide = try AlignedFloats(count: max(shape.headDim, shape.valueDim), for: "workspace")
    if let scales {
      for entry in 0..<shape.batch {
        keyScales.set(scales.key, batch: entry)
        valueScales.set(scales.value, batch: entry)
      }
    }
    self.shape = shape
    key = RowFormat(elementType, columns: shape.headDim)
    value = RowFormat(elementType, columns: shape.valueDim)
    self.keyScales = keyScales
    self.valueScales = valueScales
    scalesAreGiven = scales != nil
    self.wide = wide
  }

  var elementType: ElementType { key.elementType }

  /// Bytes of the scales.
  var bytes: Int { keyScales.bytes + valueScales.bytes }

  /// The scales that views carry.
  var scales: (key: UnsafePointer<Float>?, value: UnsafePointer<Float>?) {
    elementType == .int8PerChannel ? (keyScales.base, valueScales.base) : (nil, nil)
  }

  /// Refuses rows that cannot be taken in, before anything is changed.
  func check(_ key: TensorView, _ value: TensorView, counts: [Int]?) throws(AttentionError) {
    let rows = key.shape.rows
    try check(key, "key", shape.key(rows: rows))
    try check(value, "value", shape.value(rows: rows))
    if let counts, counts.count != shape.batch || !counts.allSatisfy({ (0...rows).contains($0) }) {
      throw AttentionError(
        .invalidArgument, argument: "counts", value: counts,
        advice: "one number of new tokens in 0...\(rows) is needed for each of the \(shape.batch) "
          + "batch entries")
    }
    if elementType.isFloatingPoint { return }
    try checkFinite(key, "key", counts)
    try checkFinite(value, "value", counts)
  }

  private func check(
    _ view: TensorView, _ name: String, _ expected: TensorShape
  ) throws(AttentionError) {
    if view.shape != expected {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.shape,
        advice: "the cache takes \(expected): as many rows of keys as of values")
    }
    if !view.elementType.isFloatingPoint {
      throw AttentionError(
        .shapeMismatch, argument: name, value: view.elementType.rawValue,
        advice: "give new rows as f32, f16 or bf16; the cache converts them")
    }
  }

  private func checkFinite(
    _ view: TensorView, _ name: String, _ counts: [Int]?
  ) throws(AttentionError) {
    for entry in 0..<shape.batch {
      for row in 0..<(counts?[entry] ?? view.shape.rows) {
        for head in 0..<shape.kvHeads {
          let magnitude = Int8Quantisation.magnitude(
            widened(view, entry, head, row), count: view.shape.columns)
          if magnitude.isFinite { continue }
          throw AttentionError(
            .notFinite, argument: "\(name)[\(entry), \(head), \(row)]",
            value: magnitude.isNaN ? "nan" : "inf",
            advice: "8-bit integers know no such number; store it as f16 or bf16, or mend it")
        }
      }
    }
  }

  /// Measures the channel scales of an entry from the first `count` new rows, where there are such
  /// scales and they were not given.
  func calibrate(entry: Int, _ key: TensorView, _ value: TensorView, count: Int) {
    guard elementType == .int8PerChannel, !scalesAreGiven, count > 0 else { return }
    for head in 0..<shape.kvHeads {
      keyScales.begin(entry, head)
      valueScales.begin(entry, head)
      for row in 0..<count {
        keyScales.include(widened(key, entry, head, row), entry, head)
        valueScales.include(widened(value, entry, head, row), entry, head)
      }
      keyScales.finish(entry, head)
      valueScales.finish(entry, head)
    }
  }

  /// Stores new row `row` of an entry in row `slot` of a cache's views.
  func store(
    _ newKey: TensorView, _ newValue: TensorView, entry: Int, row: Int,
    in views: (key: TensorView, value: TensorView), slot: Int
  ) {
    for head in 0..<shape.kvHeads {
      key.store(
        widened(newKey, entry, head, row), to: views.key.writableRow(entry, head, slot),
        scales: views.key.channelScales(entry, head))
      value.store(
        widened(newValue, entry, head, row), to: views.value.writableRow(entry, head, slot),
        scales: views.value.channelScales(entry, head))
    }
  }

  /// A row in fp32: itself, or widened until the next call.
  private func widened(
    _ view: TensorView, _ entry: Int, _ head: Int, _ row: Int
  ) -> UnsafePointer<Float> {
    if view.elementType == .float32 { return view.row(entry, head, row) }
    RowFormat(view.elementType, columns: view.shape.columns).load(
      view.rowAddress(entry, head, row), into: wide.base)
    return UnsafePointer(wide.base)
  }
}
