import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// A head of a sequence, from the state that it begins with to the one that it comes to.
extension RecurrentScratch {
  /// A head of a sequence from the state on that the caller gives, or none, to the one that is asked for.
  func run(_ walk: RecurrentLayout.Walk, _ operands: AttentionOperands, _ head: Head) {
    state = ownState
    // One token reads every number of the state once: the caller's rows are read and written themselves.
    if walk.isStep, let rows = callersRows(head) { return step(operands, head, rows) }
    begin(head)
    advance(walk, operands, head)
    if let finalState { end(head, in: finalState) }
  }

  /// Takes the state of a head to begin with, where there is one, as this worker's own.
  private func begin(_ head: Head) {
    guard let givenState else {
      return state.update(repeating: 0, count: layout.stateCount)
    }
    // A state that is given has no sum of the keys.
    for panel in head.panels {
      let place = statePanel(panel)
      copyState(
        panel, from: { givenState.row(head.batch, head.kvHead, $0) + panel * layout.width },
        to: { place + $0 * layout.width })
    }
  }

  /// Stores the state that a head has come to.
  private func end(_ head: Head, in view: MutableTensorView) {
    for panel in head.panels {
      let place = statePanel(panel)
      copyState(
        panel, from: { UnsafePointer(place + $0 * layout.width) },
        to: { view.row(head.batch, head.kvHead, $0) + panel * layout.width })
    }
  }

  /// Copies the rows of a panel of the state.
  private func copyState(
    _ panel: Int, from source: (Int) -> UnsafePointer<Float>,
    to target: (Int) -> UnsafeMutablePointer<Float>
  ) {
    for first in Swift.stride(from: 0, to: layout.stateRows, by: layout.chunk) {
      let count = min(layout.chunk, layout.stateRows - first)
      for index in 0..<count {
        rows[index] = UnsafeRawPointer(source(first + index))
        outputRows[index] = UnsafeMutableRawPointer(target(first + index))
      }
      functions.pointee.narrow(
        rows.floats, Int32(count), Int32(layout.columns(of: panel)),
        ElementType.float32.storage, outputRows)
    }
  }

  /// A head of a sequence from a decoder's state on, which is changed.
  func run(
    _ walk: RecurrentLayout.Walk, _ operands: AttentionOperands, _ head: Head,
    state: UnsafeMutablePointer<Float>
  ) {
    self.state = state
    advance(walk, operands, head)
  }

  /// A head of a sequence from the state on that it has.
  private func advance(
    _ walk: RecurrentLayout.Walk, _ operands: AttentionOperands, _ head: Head
  ) {
    if walk.isStep { return step(operands, head, ownRows) }
    storeNothing(walk.blind, operands, head)
    locateGates(head)
    var first = 0
    while first < walk.tokens.upperBound {
      let chunk = walk.chunk(from: first)
      let count = chunk.tokens.count
      load(chunk.tokens, operands, head)
      lookAhead(after: chunk, walk, operands, head)
      decay(count)
      transpose(count)
      erase(count, head)
      if !chunk.queries.isEmpty { attend(chunk.queries, isInChunk: true, operands, head) }
      takeIn(count, head)
      first = chunk.tokens.upperBound
    }
    for first in Swift.stride(
      from: walk.after.lowerBound, to: walk.after.upperBound, by: layout.chunk)
    {
      let range = first..<min(first + layout.chunk, walk.after.upperBound)
      lookAhead(after: range, limit: walk.after.upperBound, operands, head)
      attend(range, isInChunk: false, operands, head)
    }
  }

  /// One token, which every query head of it sees, from a decoder's state on, which is changed.
  func step(
    _ operands: AttentionOperands, _ head: Head, state: UnsafeMutablePointer<Float>
  ) {
    self.state = state
    step(operands, head, ownRows)
  }

  /// Where a step finds a head's state and where it leaves it, of one panel; and floats from a panel to the
  /// next.
  private struct StepRows {
    var state: attn_step_state
    let panelBefore: Int
    let panelAfter: Int

    mutating func advance(_ panels: Int = 1) {
      state.before += panels * panelBefore
      state.after += panels * panelAfter
      state.next = state.before + panelBefore
    }
  }

  /// Those of the state that is held in panels.
  private var ownRows: StepRows {
    let width = Int64(layout.width)
    let size = layout.stateRows * layout.width
    return StepRows(
      state: attn_step_state(
        before: state, before_stride: width, after: state, after_stride: width, next: state),
      panelBefore: size, panelAfter: size)
  }

  /// Those of the states that the caller gives and asks for, where they consist of whole panels.
  private func callersRows(_ head: Head) -> StepRows? {
    guard let givenState, let finalState, layout.valueStride == shape.valueDim,
      givenState.regularRows(from: 0, limit: layout.stateRows) == layout.stateRows
    else { return nil }
    let before = givenState.row(head.batch, head.kvHead, 0)
    return StepRows(
      state: attn_step_state(
        before: before, before_stride: Int64(givenState.rowStride),
        after: finalState.row(head.batch, head.kvHead, 0),
        after_stride: Int64(finalState.reading.rowStride), next: before),
      panelBefore: layout.width, panelAfter: layout.width)
  }

  /// One token, which every query head of it sees.
  private func step(_ operands: AttentionOperands, _ head: Head, _ rows: StepRows) {
    let stride = layout.rowStride
    let group = shape.groupSize
    locateGates(head)
    load(0..<1, operands, head)
    switch recurrence.decay {
    case .none: break
    case .perHead:
      keptOver.update(repeating: Float.exp(decays[0]), count: layout.stateRows)
    case .perChannel: functions.pointee.exp_row(decays, Int64(stride), keptOver)
    }
    if recurrence.erases, recurrence.decay != .none {
      // What is erased is what the decay has left.
      functions.pointee.multiply_rows(
        erases, Int64(stride), 1, Int32(stride), keptOver, 0, 1, erases)
    }
    for member in 0..<group {
      let query = queries + member * stride
      widen(
        operands.query, head.batch, head.kvHead * group + member, 0..<1, into: query,
        stride: stride)
    }
    mapFeatures(queries, group)
    if recurrence.normalises {
      addKeys(1, head)
      functions.pointee.dot_rows(
        queries, Int64(stride), Int32(group), Int32(stride), state + layout.keySum(head.piece),
        denominators)
    } else if factor != 1 {
      functions.pointee.scale_row(queries, Int64(group * stride), factor)
    }
    var token = attn_step(
      key: keys, erase: recurrence.erases ? UnsafePointer(erases) : nil, keep: keptOver,
      queries: queries, query_stride: Int64(stride), heads: Int32(group),
      columns: Int32(layout.stateRows))
    var rows = rows
    rows.advance(head.panels.lowerBound)
    for panel in head.panels {
      functions.pointee.step(
        &token, &rows.state, Int32(layout.panelVectors), written + panel * layout.width,
        output + panel * layout.width, Int64(layout.valueStride))
      rows.advance()
    }
    for member in 0..<group {
      let row = output + member * layout.valueStride
      add(additions, 1, head, to: row)
      let queryHead = head.kvHead * group + member
      store(0..<1, operands, head, queryHead: queryHead, row, denominators + member)
      storeSums(0..<1, operands, head, queryHead: queryHead, denominators + member)
    }
  }
}
