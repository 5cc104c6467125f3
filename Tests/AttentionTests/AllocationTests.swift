import Attention
import AttentionTestSupport
import CAllocationCounter
import Testing

#if canImport(Glibc)
  import Glibc

  /// Running a plan allocates nothing, on any thread.
  ///
  /// In a process of its own, since the counter sees all threads.
  @Suite struct AllocationTests {
    @Test func runningAPlanAllocatesNothing() async {
      await #expect(processExitsWith: .success) {
        allocation_counter_start()
        let tensor = try Tensor(TensorShape(1, 1, 10, 10))
        #expect(allocation_counter_stop() == 2, "a tensor is an object and its elements")
        #expect(tensor.elements.allSatisfy { $0 == 0 })
        for specimen in Specimen.all {
          for number in [2, 3, 7, 10, 21, 40] {
            let test = try TestCase(number)
            let inputs = test.inputs()
            let outputs = test.outputs()
            let operands = outputs.operands(inputs)
            let plan = try specimen.strategy.plan(for: test.problem, on: Teams.of(2))
            // OpenBLAS takes its buffers on a thread's first call.
            for _ in 0..<3 { try plan.run(operands) }
            allocation_counter_start()
            try plan.run(operands)
            let count = allocation_counter_stop()
            #expect(count == 0, "\(specimen.text): \(count) allocations in \(test)")
          }
          for (number, elements) in StorageTests.choices.enumerated() {
            let problem = try TestCase(number).problem.storing(elements)
            let inputs = StoredInputs(TestInputs(problem, seed: number), elements)
            let output = try Tensor(problem.shape.output, elementType: elements.query)
            let operands = AttentionOperands(
              query: inputs.query.view, key: inputs.key.view, value: inputs.value.view,
              output: output.mutableView)
            let plan = try specimen.strategy.plan(for: problem, on: Teams.of(2))
            for _ in 0..<3 { try plan.run(operands) }
            allocation_counter_start()
            try plan.run(operands)
            let count = allocation_counter_stop()
            #expect(count == 0, "\(specimen.text): \(count) allocations, \(elements)")
          }
        }
      }
    }
  }
#endif
