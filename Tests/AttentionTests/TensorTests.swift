import Attention
import AttentionTestSupport
import Testing

@Suite struct TensorTests {
  @Test(arguments: ElementType.allCases, TensorLayout.allCases)
  func tensorsOfEveryTypeHoldTheirRows(_ type: ElementType, _ layout: TensorLayout) throws {
    let shape = try TensorShape(2, 3, 5, 7)
    let tensor = try Tensor(shape, layout: layout, elementType: type)
    #expect(tensor.bytes.count == 2 * 3 * 5 * type.rowBytes(columns: 7))
    #expect(tensor.elements.count == (type == .float32 ? shape.count : 0))
    #expect(tensor.channelScales.count == (type == .int8PerChannel ? 2 * 3 * 7 : 0))
    // Every row has bytes of its own, and together they are all there are.
    let base = tensor.view.address
    var starts: Set<Int> = []
    for batch in 0..<2 {
      for head in 0..<3 {
        for row in 0..<5 {
          starts.insert(tensor.view.rowAddress(batch, head, row) - base)
        }
      }
    }
    #expect(starts == Set((0..<30).map { $0 * type.rowBytes(columns: 7) }))
  }

  @Test(arguments: ElementType.allCases, [ElementType.float32, .float16, .bfloat16])
  func copyingRoundsEveryElement(_ source: ElementType, _ type: ElementType) throws {
    let values = TestTensor(try TensorShape(2, 3, 5, 17))
    var generator = TestGenerator(seed: 4)
    values.fill { _, _, _, _ in 100 * generator.normal() }
    let stored = StoredTensor(values, source, placement: .strided(.paddedInterleaved))
    let copy = try Tensor(copying: stored.view, as: type, layout: .bnhd)
    let expected = StoredTensor(stored.widened(), type)
    var wrong = 0
    values.forEachRow { batch, head, row in
      let floats = copy.view.floats(batch, head, row)
      for column in 0..<17
      where floats[column] != expected.element(batch, head, row, column) { wrong += 1 }
    }
    #expect(wrong == 0)
    #expect(copy.elementType == type && copy.layout == .bnhd)
  }

  @Test func copyingRefusesIntegers() throws {
    let tensor = try Tensor(TensorShape(1, 1, 1, 1))
    let error = #expect(throws: AttentionError.self) {
      try Tensor(copying: tensor.view, as: .int8PerToken)
    }
    #expect(error?.argument == "elementType")
  }

  @Test func tensorBytesCountWhatIsStored() throws {
    let shape = try AttentionShape(
      batch: 2, heads: 4, kvHeads: 2, queryLength: 10, keyLength: 20, headDim: 6, valueDim: 3)
    func bytes(_ elements: Storage) throws -> Int {
      try AttentionProblem(shape, storage: elements).tensorBytes
    }
    #expect(try bytes(Storage()) == 4 * (480 + 240 + 480 + 240))
    #expect(try bytes(Storage(.bfloat16)) == 2 * (480 + 240 + 480 + 240))
    // Rows of 6 and 3 bytes with padding and scale take 12 and 8.
    #expect(
      try bytes(Storage(.float16, keyValue: .int8PerToken)) == 2 * 720 + 80 * (12 + 8))
    // A scale a column of each head.
    #expect(
      try bytes(Storage(.float32, keyValue: .int8PerChannel))
        == 4 * 720 + 80 * 9 + 4 * 4 * 9)
  }
}
