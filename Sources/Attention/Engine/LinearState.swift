import CAttentionKernels
import RealModule

/// Sizes of the state of linear attention, S = sum phi(k) v^T and z = sum phi(k), as the kernels
/// read it.
struct LinearStateLayout: Sendable {
  let headDim: Int
  let valueDim: Int
  let lanes: Int
  let vectorLanes: Int

  init(_ shape: AttentionShape, kernels: KernelTable) {
    headDim = shape.headDim
    valueDim = shape.valueDim
    lanes = kernels.panelLanes
    vectorLanes = kernels.vectorLanes
  }

  /// Groups of value columns: S is `[groups][d][L]`.
  var groups: Int { (valueDim + lanes - 1) / lanes }
  /// Lanes of a group in use: as even as vectors allow, since few lanes are slow lanes.
  var groupLanes: Int { (vectors(valueDim) + groups - 1) / groups * vectorLanes }
  /// Feature columns padded to whole vectors: z is `[paddedFeatures]`.
  var paddedFeatures: Int { vectors(headDim) * vectorLanes }
  /// Floats of S and z.
  var count: Int { groups * headDim * lanes + paddedFeatures }
  /// Offset of z.
  var normaliser: Int { groups * headDim * lanes }
  /// Value columns of a group.
  func columns(_ group: Int) -> Int { min(groupLanes, valueDim - group * groupLanes) }
  /// Vectors that hold `count` lanes.
  func vectors(_ count: Int) -> Int { (count + vectorLanes - 1) / vectorLanes }
  /// Whether a vector load at the end of a value row stays inside the row.
  var valuesFillVectors: Bool { valueDim % vectorLanes == 0 }
}

/// One worker's memory for linear attention.
final class LinearScratch: @unchecked Sendable {
  let layout: LinearStateLayout
  private let functions: UnsafePointer<attn_kernels>
  private let floats: AlignedFloats
  private let pointers: UnsafeMutablePointer<UnsafePointer<Float>>
  private let bounds: UnsafeMutablePointer<Int32>
  private let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>

  /// Keys of a chunk.
  static let chunk = 128

  static func bytes(_ layout: LinearStateLayout) -> Int {
    4 * floatCount(layout)
      + MemoryLayout<UnsafePointer<Float>>.stride * (pointerCount(layout) + layout.lanes)
      + 4 * 2 * layout.lanes
  }

  private static func floatCount(_ layout: LinearStateLayout) -> Int {
    layout.count + chunk * (layout.paddedFeatures + layout.groups * layout.lanes + layout.lanes)
      + layout.lanes * (layout.headDim + layout.valueDim + 2) + layout.lanes
  }

  private static func pointerCount(_ layout: LinearStateLayout) -> Int {
    4 * max(chunk, layout.headDim) + (layout.groups + 1) * layout.headDim + layout.lanes
  }

  init(_ layout: LinearStateLayout, kernels: KernelTable) throws(AttentionError) {
    self.layout = layout
    functions = kernels.functions
    floats = try AlignedFloats(
      count: LinearScratch.floatCount(layout), for: "workspace", touched: true)
    let count = LinearScratch.pointerCount(layout)
    pointers = .allocate(capacity: count)
    bounds = .allocate(capacity: 2 * layout.lanes)
    outputRows = .allocate(capacity: layout.lanes)
    one[0] = 1
    for t in 0..<LinearScratch.chunk {
      featureRows[t] = UnsafePointer(features + t * layout.paddedFeatures)
      oneRows[t] = UnsafePointer(one)
    }
  }

  deinit {
    pointers.deallocate()
    bounds.deallocate()
    outputRows.deallocate()
  }

  // Floats.
  /// S and z of the keys taken in so far.
  var state: UnsafeMutablePointer<Float> { floats.base }
  /// `[chunk][paddedFeatures]` phi(k) of the chunk in work.
  private var features: UnsafeMutablePointer<Float> { state + layout.count }
  /// `[chunk][groups * L]` values padded to whole vectors.
  private var paddedValues: UnsafeMutablePointer<Float> {
    features + LinearScratch.chunk * layout.paddedFeatures
  }
  /// `[chunk][L]` phi(k) . phi(q) within a chunk.
  private var weights: UnsafeMutablePointer<Float> {
    paddedValues + LinearScratch.chunk * layout.groups * layout.lanes
  }
  /// `[d][L]` phi(q).
  private var queries: UnsafeMutablePointer<Float> {
    weights + LinearScratch.chunk * layout.lanes
  }
  /// `[dV][L]`.
  private var output: UnsafeMutablePointer<Float> { queries + layout.headDim * layout.lanes }
  /// `[L]` phi(q) . z.
  private var normalisers: UnsafeMutablePointer<Float> {
    output + layout.valueDim * layout.lanes
  }
  /// `[L]`.
  private var factors: UnsafeMutablePointer<Float> { normalisers + layout.lanes }
  /// A single 1: summing rows is a product with it.
  private var one: UnsafeMutablePointer<Float> { factors + layout.lanes }

  // Row pointers.
  private var featureRows: UnsafeMutablePointer<UnsafePointer<Float>> { pointers }
  private var oneRows: UnsafeMutablePointer<UnsafePointer<Float>> {
    featureRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var valueRows: UnsafeMutablePointer<UnsafePointer<Float>> {
    oneRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var upcomingRows: UnsafeMutablePointer<UnsafePointer<Float>> {
    valueRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var stateRows: UnsafeMutablePointer<UnsafePointer<Float>> {
    upcomingRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var inputRows: UnsafeMutablePointer<UnsafePointer<Float>> {
    stateRows + (layout.groups + 1) * layout.headDim
  }

  /// Forgets all keys.
  func reset() { state.update(repeating: 0, count: layout.count) }

  /// Computes phi(k) of at most `chunk` keys, notes their values, and asks for as many keys and
  /// values after them, which are usually next.
  func load(
    keys: Range<Int>, key: TensorView, value: TensorView, batch: Int, kvHead: Int
  ) {
    let upcoming = keys.upperBound..<min(keys.upperBound + keys.count, key.shape.rows)
    prefetch(upcoming, of: key, batch: batch, head: kvHead)
    prefetch(upcoming, of: value, batch: batch, head: kvHead)
    for t in 0..<keys.count {
      let row = keys.lowerBound + t
      functions.pointee.elu_plus_one(
        key.row(batch, kvHead, row), Int64(layout.headDim), features + t * layout.paddedFeatures)
      valueRows[t] = value.row(batch, kvHead, row)
    }
  }

  private func prefetch(_ rows: Range<Int>, of tensor: TensorView, batch: Int, head: Int) {
    for row in rows { upcomingRows[row - rows.lowerBound] = tensor.row(batch, head, row) }
    functions.pointee.prefetch(upcomingRows, Int32(rows.count), Int32(tensor.shape.columns))
  }

  /// Adds the loaded keys to a state.
  func accumulate(
    count: Int, value: TensorView, firstKey: Int, batch: Int, kvHead: Int,
    into state: UnsafeMutablePointer<Float>
  ) {
    if count == 0 { return }
    var values = value.row(batch, kvHead, firstKey)
    var stride = value.rowStride
    if !layout.valuesFillVectors {
      stride = layout.groups * layout.groupLanes
      for t in 0..<count {
        (paddedValues + t * stride).update(from: valueRows[t], count: layout.valueDim)
      }
      values = UnsafePointer(paddedValues)
    }
    for group in 0..<layout.groups {
      functions.pointee.accumulate(
        featureRows, values + group * layout.groupLanes, Int64(stride), Int32(count),
        Int32(layout.headDim), Int32(layout.vectors(layout.columns(group))),
        state + group * layout.headDim * layout.lanes)
    }
    for first in Swift.stride(from: 0, to: layout.paddedFeatures, by: layout.lanes) {
      functions.pointee.accumulate(
        oneRows, features + first, Int64(layout.paddedFeatures), Int32(count), 1,
        Int32(layout.vectors(min(layout.lanes, layout.paddedFeatures - first))),
        state + layout.normaliser + first)
    }
  }

  /// Outputs of a panel's query rows from a state of earlier keys and, within the chunk loaded
  /// last, the keys each row sees.
  ///
  /// - Parameters:
  ///   - upcoming: the panel after this one, whose queries are asked for meanwhile.
  ///   - chunk: keys of the loaded chunk to score pair by pair; may be empty.
  func attend(
    _ operands: AttentionOperands, batch: Int, rows: PanelRows, upcoming: PanelRows?,
    geometry: MaskGeometry, state: UnsafePointer<Float>, chunk: Range<Int>
  ) {
    let lanes = layout.lanes
    let live = rows.live
    let vectors = Int32(layout.vectors(live))
    rows.forEach { lane, head, row in inputRows[lane] = operands.query.row(batch, head, row) }
    functions.pointee.pack(inputRows, Int32(live), Int32(layout.headDim), 1, queries)
    if let upcoming {
      upcoming.forEach { inputRows[$0] = operands.query.row(batch, $1, $2) }
      functions.pointee.prefetch(inputRows, Int32(upcoming.live), Int32(layout.headDim))
    }
    functions.pointee.elu_plus_one(queries, Int64(layout.headDim * lanes), queries)
    output.update(repeating: 0, count: layout.valueDim * lanes)
    normalisers.update(repeating: 0, count: lanes)

    for group in 0..<layout.groups {
      for feature in 0..<layout.headDim {
        stateRows[feature] = state + (group * layout.headDim + feature) * lanes
      }
      functions.pointee.accumulate(
        stateRows, queries, Int64(lanes), Int32(layout.headDim), Int32(layout.columns(group)),
        vectors, output + group * layout.groupLanes * lanes)
    }
    for feature in 0..<layout.headDim {
      stateRows[feature] = state + layout.normaliser + feature
    }
    functions.pointee.accumulate(
      stateRows, queries, Int64(lanes), Int32(layout.headDim), 1, vectors, normalisers)

    if !chunk.isEmpty {
      functions.pointee.dots(
        queries, featureRows, Int32(chunk.count), Int32(layout.headDim), vectors, weights)
      let lower = bounds
      let upper = bounds + lanes
      lower.update(repeating: 0, count: 2 * lanes)
      rows.forEach { lane, _, row in
        upper[lane] = Int32(geometry.visible(from: row + geometry.offset).upperBound)
      }
      // Later rows see later keys: the keys up to a vector's last row concern it and those after.
      var start = chunk.lowerBound
      for vector in 0..<Int(vectors) {
        let lane = vector * layout.vectorLanes
        let last = Int(upper[min(lane + layout.vectorLanes, live) - 1])
        let end = min(max(last, start), chunk.upperBound)
        if start == end { continue }
        let place = start - chunk.lowerBound
        let weights = weights + (place * lanes + lane)
        let (count, seeing) = (Int32(end - start), vectors - Int32(vector))
        functions.pointee.accumulate_masked(
          valueRows + place, weights, Int64(lanes), count, Int32(layout.valueDim), seeing,
          Int32(start), lower + lane, upper + lane, output + lane)
        functions.pointee.accumulate_masked(
          oneRows, weights, Int64(lanes), count, 1, seeing, Int32(start), lower + lane,
          upper + lane, normalisers + lane)
        start = end
      }
    }
    store(operands, batch: batch, rows: rows, geometry: geometry)
  }

  /// Divides by the normaliser and stores output rows and LSE.
  private func store(
    _ operands: AttentionOperands, batch: Int, rows: PanelRows, geometry: MaskGeometry
  ) {
    factors.update(repeating: 0, count: layout.lanes)
    rows.forEach { lane, head, row in
      let sees = !geometry.visible(from: row + geometry.offset).isEmpty
      factors[lane] = sees ? 1 / (normalisers[lane] + Float(LinearAttention.epsilon)) : 0
      outputRows[lane] = operands.output.row(batch, head, row)
      operands.logSumExp?.row(batch, head, row)[0] =
        sees ? Float.log(normalisers[lane]) : -.infinity
    }
    functions.pointee.unpack(
      output, factors, Int32(rows.live), Int32(layout.valueDim), outputRows)
  }
}
